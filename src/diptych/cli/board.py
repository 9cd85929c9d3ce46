"""``diptych board``: every fitting system on your data, measured alike."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from diptych.cli import options
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.core.errors import UnreadableItem

if TYPE_CHECKING:
    from diptych.tasks.board import Board

app = typer.Typer(help="Measure every fitting system on one data set.", no_args_is_help=True)


@app.callback()
def _board() -> None:
    """Measure every fitting system on one data set."""


@app.command("classify")
def board_classify(
    data: Annotated[str, typer.Argument(help="A folder with train and test, a table, or demo:clothes.", show_default=False)],
    methods: Annotated[
        str | None, options.option("--methods", help="Systems, such as gda,tip-adapter (default: all).", show_default=False)
    ] = None,
    shots: Annotated[str, options.option("--shots", help="Train items a class.")] = "1,4,16",
    seeds: Annotated[str, options.option("--seeds", help="Seeds of the draws.")] = "1,2,3",
    val: Annotated[
        str, options.option("--val", help="coop: choose on min(shots, 4) val items a class; full: on all, as Tip-Adapter and GDA publish.")
    ] = "coop",
    names: options.Names = None,
    templates: options.Templates = None,
    texts: options.TextPool = None,
    out: Annotated[Path, options.option("--out", "-o", help="Folder for rows, board.json, board.csv and report.html.")] = Path("out/board"),
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Run every classifier at several shots and seeds; finished rows are kept and used again."""
    from diptych.core.data import ClassNames
    from diptych.data.splits import ValRule
    from diptych.tasks import report
    from diptych.tasks.board import board
    from diptych.tasks.prove import find_data
    from diptych.tasks.rows import Plan

    slugs = options.words(methods) if methods else None
    plan = Plan(slugs, options.integers(shots, "shots"), options.integers(seeds, "seeds"), cast(ValRule, val))
    keys = options.file_keys(cache, verify)
    opened = find_data(data, keys)
    classes = ClassNames(options.class_names(names, opened.classes), options.template_set(templates))
    pool = options.text_pool(texts)
    run = options.open_run(device, precision, batch, workers, cache, out)
    tower = options.open_backbone(backbone, run)
    made = board(opened, tower, run, plan, classes=classes, texts=pool, source=data, command=command_line())
    keys.close()
    report.write(made, out / "report.html")
    if json:
        show_json(made.as_dict())
    else:
        show_board(made)
        show(f"{out / 'report.html'}")
    say(encoding(made))
    finish(made)


def command_line() -> str:
    """Return the command that is running, as a person would type it."""
    return shlex.join(["diptych", *sys.argv[1:]])


def finish(made: Board) -> None:
    """Name what was skipped and leave with the exit code that says so."""
    say_skipped(made.skipped)
    if not made.complete:
        say("Interrupted: the board holds the rows that were finished; the same command goes on from there.")
        raise typer.Exit(130)
    if made.skipped:
        raise typer.Exit(UnreadableItem.exit_code)


def encoding(made: Board) -> str:
    """Return one line about what was encoded."""
    n, seconds = made.encode["images"], made.encode["image_seconds"]
    rate = f"{n:.0f} images in {seconds:.1f} s, {n / max(seconds, 1e-9):.0f} images/s" if n else "all images from the cache"
    return f"{made.spec['name']} on {made.device}, {made.precision}: {rate}; texts {made.encode['text_seconds']:.1f} s"


def show_board(made: Board) -> None:
    """Print the board: percentages with 95 % intervals."""
    rows = []
    for row in made.rows:
        low, high = row.ci95["acc1"]
        gain = (
            ("", "") if row.gain is None else (f"{100 * row.gain.value:+.1f}", f"{100 * row.gain.low:+.1f} to {100 * row.gain.high:+.1f}")
        )
        accuracy = (f"{100 * row.metrics['acc1']:.1f}", f"{100 * low:.1f}-{100 * high:.1f}")
        rows.append((row.label, str(row.shots or "-"), *accuracy, *gain, f"{100 * row.metrics['ece']:.1f}", f"{row.seconds('fit'):.2f}"))
    title = f"{made.data.name}: {len(made.test)} {made.measured} photos, {len(made.classes)} classes, {made.spec['name']}"
    show_table(["system", "shots", "top-1", "95 %", "gain", "95 %", "ECE", "fit s"], rows, right=range(1, 8), title=title)
    for label, reason in made.missing.items():
        show(f"{label}: {reason}")
