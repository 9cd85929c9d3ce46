"""``diptych demo``: the first minute. Photos that ship, a board on clothes that ship, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from diptych.cli import flag_values, options
from diptych.cli.console import command_line, finish, say, short_names, show, show_json, show_parts
from diptych.cli.context import CommandContext
from diptych.cli.declared import interruptible
from diptych.cli.flags import option
from diptych.cli.offers import offers
from diptych.tasks.defaults import DEMO
from diptych.verbs.board.board import saved_rows
from diptych.verbs.board.classifiers import encoding, tables_of
from diptych.verbs.board.measured import INTERRUPTED
from diptych.verbs.classify import Classify


@offers("json", "backbone", "device", "precision", "engine", "batch", "workers", "cache")
def demo(
    out: Annotated[Path, option("--out", "-o", help="Folder for rows, board.json, board.csv and report.html.")] = Path(
        "out/demo"
    ),
    shots: Annotated[str, option("--shots", help="Training photos of each class.")] = "1,4,16",
    seeds: Annotated[str, option("--seeds", help="Seeds of the draws.")] = "1,2,3",
    *,
    shared: options.RunOptions,
) -> None:
    """Classify the photos that ship, run the few-shot board on the clothes that ship, and write one HTML report."""
    shared.writable(out)
    shot_list, seed_list = flag_values.integers(shots, "shots"), flag_values.integers(seeds, "seeds")
    with shared.open(out=out) as opened, interruptible(lambda: saved_rows(out), opened.tally):
        from diptych.data.load import open_data
        from diptych.evaluation.few_shot.board import board
        from diptych.evaluation.few_shot.plan import Plan
        from diptych.evaluation.pages import board as report

        plan = Plan(DEMO, shot_list, seed_list)
        run, tower = opened.run, opened.backbone()
        answer = Classify(photos=["demo:photos"], top=3).run(CommandContext(opened, None))
        if not shared.json:
            names = short_names(answer.names())
            for name, prediction in zip(names, answer, strict=True):
                show(answer.printed(prediction, f"{name:<{max(map(len, names))}}"))
        for line in answer.ends():
            say(line)
        predictions = list(answer.result.predictions)
        photos = answer.data([p.as_dict() for p in predictions], answer.remarks(predictions))
        data = open_data("demo:clothes", opened.keys)
        result_board = board(data, tower, run, plan, source="demo:clothes", command=command_line())
    report.write(result_board, out / "report.html", classified=answer.result, photos=answer.source.samples)
    shown = result_board.as_dict()
    if shared.json:
        show_json({"photos": photos, "board": shown, "report": str(out / "report.html")})
    else:
        show_parts(tables_of(shown))
        show(f"{out / 'report.html'}")
    say(encoding(shown))
    if result_board.interrupted:
        say(INTERRUPTED)
    finish(shown["skipped"], 130 if result_board.interrupted else 0)
