"""``diptych board detect``: every fitting detector on your data, measured alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import options
from diptych.cli.board import command_line
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.cli.detect import Auxiliary, Thing
from diptych.core.errors import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.tasks.detect_board import DetectBoard

HEADINGS = ("image AUROC", "image AP", "pixel AUROC", "pixel AP", "PRO", "false alarms", "detected")


def board_detect(
    data: Annotated[str, typer.Argument(help="A folder of MVTec's layout: train/good, test/good, test/KIND ...", show_default=False)],
    thing: Thing = None,
    auxiliary: Auxiliary = None,
    methods: Annotated[
        str | None, options.option("--methods", help="Detectors, such as gaussian,hyp-oc (default: all).", show_default=False)
    ] = None,
    rate: Annotated[float, options.option("--rate", help="False alarms a normal photo, to which thresholds are set.")] = 0.1,
    seeds: Annotated[str, options.option("--seeds", help="Seeds of draws and trainings.")] = "1,2,3",
    out: Annotated[Path, options.option("--out", "-o", help="Folder for board.json and board.csv.")] = Path("out/board-detect"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Run every detector on normal and anomalous photos; a third of the normal train photos hold the rate of false alarms."""
    from diptych.data.classnames import tidy
    from diptych.tasks.detect_board import detect_board
    from diptych.tasks.proofs.detect import THINGS, find_anomalies

    if (out / "board.json").exists() and not overwrite:
        raise UsageError(f"{out / 'board.json'} exists: give another --out or --overwrite.")
    keys = options.file_keys(cache, verify)
    opened = find_anomalies(data, keys)
    known = None if auxiliary is None else find_anomalies(auxiliary, keys).split("test")
    run = options.open_run(device, precision, batch, workers, cache, engine=engine)
    made = detect_board(
        opened,
        options.open_backbone(backbone, run),
        run,
        thing=thing or THINGS.get(opened.name, tidy(opened.name)),
        methods=options.words(methods) if methods else None,
        seeds=options.integers(seeds, "seeds"),
        rate=rate,
        auxiliary=known,
        command=command_line(),
    )
    keys.close()
    made.write(out, overwrite=overwrite)
    if json:
        show_json(made.as_dict())
    else:
        _show(made)
        show(str(out / "board.json"))
    for label, reason in made.missing.items():
        say(f"{label} did not run: {reason}")
    say_skipped(made.skipped)
    if made.skipped:
        raise typer.Exit(UnreadableItem.exit_code)


def _show(made: DetectBoard) -> None:
    from diptych.tasks.detect_board import METRICS

    rows = []
    for row in sorted(made.rows, key=lambda r: -r.metrics["image_auroc"]):
        low, high = row.ci95
        values = [f"{100 * row.metrics[m]:.1f}" if m in row.metrics else "-" for m in METRICS]
        rows.append((row.label, f"{values[0]} ({100 * low:.1f} to {100 * high:.1f})", *values[1:], f"{sum(row.seconds.values()):.1f}"))
    about = made.as_dict()
    title = f"{made.data.name}: {about['items']} photos, {about['anomalous']} anomalous; percent, thresholds at {100 * made.rate:g} %"
    show_table(["detector", *HEADINGS, "seconds"], rows, right=range(1, len(HEADINGS) + 2), title=title)
