"""``diptych demo``: the first minute. Photos that ship, a board on clothes that ship, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from diptych.cli import options
from diptych.cli.board import command_line, encoding, finish, show_board
from diptych.cli.classify import open_photos, show_predictions, speed
from diptych.cli.console import say, show, show_json

METHODS = ("zero-shot", "linear-probe", "tip-adapter", "tip-adapter-f", "gda")
"""What the demo compares: systems that need nothing but photos and names, and end in minutes."""


def demo(
    out: Annotated[
        Path, options.option("--out", "-o", help="Folder for rows, board.json, board.csv and report.html.")
    ] = Path("out/demo"),
    shots: Annotated[str, options.option("--shots", help="Train items a class.")] = "1,4,16",
    seeds: Annotated[str, options.option("--seeds", help="Seeds of the draws.")] = "1,2,3",
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
) -> None:
    """Classify the photos that ship, run the few-shot board on the clothes that ship, and write one HTML report."""
    from diptych.core.data import ClassNames
    from diptych.data.load import demo_folder, open_data
    from diptych.evaluation.few_shot.board import board
    from diptych.evaluation.few_shot.plan import Plan
    from diptych.evaluation.pages import board as report
    from diptych.tasks.classify import classify

    run = options.open_run(device, precision, batch, workers, cache, out, engine=engine)
    keys = options.file_keys(cache, verify=False)
    tower = options.open_backbone(backbone, run)
    photos, _ = open_photos(["demo:photos"], keys)
    names = options.class_names(str(demo_folder("photos") / "names.txt"))
    found = classify(photos, ClassNames(names, options.template_set(None)), tower, run, top=3)
    if not json:
        show_predictions(found)
    say(speed(found.encoded, found.seconds["encode"], run.device, run.precision, found.backbone))
    plan = Plan(METHODS, options.integers(shots, "shots"), options.integers(seeds, "seeds"))
    made = board(open_data("demo:clothes", keys), tower, run, plan, source="demo:clothes", command=command_line())
    keys.close()
    report.write(made, out / "report.html", classified=found, photos=photos)
    shown = made.as_dict()
    if json:
        show_json({"photos": found.as_dict(), "board": shown, "report": str(out / "report.html")})
    else:
        show_board(shown)
        show(f"{out / 'report.html'}")
    say(encoding(shown))
    finish(shown, interrupted=made.interrupted)
