"""``diptych board classify``: every fitting system on your data, measured alike."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from diptych.cli import options
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.core.errors import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.evaluation.few_shot.board import Board
    from diptych.evaluation.few_shot.gains import Row
    from diptych.evaluation.pages.comparison import Comparison


def board_classify(
    data: Annotated[
        list[str],
        typer.Argument(
            help="A folder with train and test, a table, or demo:clothes; several are compared.", show_default=False
        ),
    ],
    methods: Annotated[
        str | None,
        options.option("--methods", help="Systems, such as gda,tip-adapter (default: all).", show_default=False),
    ] = None,
    shots: Annotated[str, options.option("--shots", help="Train items a class.")] = "1,4,16",
    seeds: Annotated[str, options.option("--seeds", help="Seeds of the draws.")] = "1,2,3",
    val: Annotated[
        str,
        options.option(
            "--val",
            help="coop: choose on min(shots, 4) val items a class; full: on all, as Tip-Adapter and GDA publish.",
        ),
    ] = "coop",
    names: options.Names = None,
    templates: options.Templates = None,
    texts: options.TextPool = None,
    unlabelled: Annotated[
        str | None,
        options.option("--unlabelled", help="Photos for label-free systems (default: train).", show_default=False),
    ] = None,
    budget: Annotated[
        float | None,
        options.option(
            "--budget", help="Seconds for the whole board; what is done by then counts.", show_default=False
        ),
    ] = None,
    timeout: Annotated[
        float | None, options.option("--timeout", help="Seconds for each system.", show_default=False)
    ] = None,
    export: Annotated[
        str | None,
        options.option(
            "--export", help="Write OUT/model: best (chosen on val), or a system such as gda.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path, options.option("--out", "-o", help="Folder for rows, board.json, board.csv and report.html.")
    ] = Path("out/board"),
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
    """Run every classifier at several shots and seeds; finished rows are kept and used again."""
    from diptych.core.data import ClassNames
    from diptych.data.load import open_data
    from diptych.data.splits import ValRule
    from diptych.evaluation.few_shot.board import MODEL, board
    from diptych.evaluation.few_shot.plan import Plan
    from diptych.evaluation.few_shot.unlabelled import Unlabelled
    from diptych.evaluation.pages import board as report
    from diptych.evaluation.pages import comparison
    from diptych.tasks.segment import stems

    slugs = options.words(methods) if methods else None
    plan = Plan(
        slugs, options.integers(shots, "shots"), options.integers(seeds, "seeds"), cast(ValRule, val), budget, timeout
    )
    if len(data) > 1 and (names or texts or unlabelled):
        raise UsageError("--names, --texts and --unlabelled belong to one data set: give one, or leave them out.")
    keys = options.file_keys(cache, verify)
    opened = [open_data(name, keys, need="classes") for name in data]
    pool = options.text_pool(texts)
    images = Unlabelled.open(unlabelled, keys) if unlabelled else None
    run = options.open_run(device, precision, batch, workers, cache, engine=engine)
    tower = options.open_backbone(backbone, run)
    boards: list[Board] = []
    for source, one, called in zip(data, opened, stems([d.name.replace(":", "-") for d in opened]), strict=True):
        folder = out if len(data) == 1 else out / called
        classes = ClassNames(options.class_names(names, one.classes), options.template_set(templates))
        made = board(
            one, tower, replace(run, out=folder), plan, classes=classes, texts=pool, unlabelled=images, export=export,
            source=source,
            command=command_line(), overwrite=overwrite,
        )  # fmt: skip
        report.write(made, folder / "report.html")
        boards.append(made)
        if not json:
            show_board(made)
            if export and (folder / MODEL).exists():
                show(f"{folder / MODEL}: diptych classify PHOTOS --model {folder / MODEL}")
            show(f"{folder / 'report.html'}")
        say(encoding(made))
        if made.interrupted:
            break
    keys.close()
    if len(boards) > 1:
        compared = comparison.compare(boards)
        compared.write(out, overwrite=overwrite)
        if not json:
            show_comparison(compared)
            show(f"{out / comparison.PAGE}")
    if json:
        show_json(boards[0].as_dict() if len(data) == 1 else {"boards": [b.as_dict() for b in boards]})
    for made in boards:
        finish(made)


def command_line() -> str:
    """Return the command that is running, as a person would type it."""
    return shlex.join(["diptych", *sys.argv[1:]])


def finish(made: Board) -> None:
    """Name what was skipped and leave with the exit code that says so; a board that ran out of its budget is a
    result.
    """
    say_skipped(made.skipped)
    if made.interrupted:
        say("Interrupted: the board holds the rows that were finished; the same command goes on from there.")
        raise typer.Exit(130)
    if made.skipped:
        raise typer.Exit(UnreadableItem.exit_code)


def encoding(made: Board) -> str:
    """Return one line about what was encoded."""
    n, seconds = made.encode["images"], made.encode["image_seconds"]
    rate = (
        f"{n:.0f} images in {seconds:.1f} s, {n / max(seconds, 1e-9):.0f} images/s"
        if n
        else "all images from the cache"
    )
    return f"{made.spec['name']} on {made.device}, {made.precision}: {rate}; texts {made.encode['text_seconds']:.1f} s"


def show_board(made: Board) -> None:
    """Print the board, percentages with 95 % intervals, then what is missing or late, then the choice."""
    rows = []
    for row in made.rows:
        low, high = row.ci95["acc1"]
        gain = "" if row.gain is None else f"{100 * row.gain.value:+.1f}"
        p = "" if row.p is None else "<.001" if row.p < 0.001 else f"{row.p:.3f}".removeprefix("0")
        accuracy = f"{100 * row.metrics['acc1']:.1f} ({100 * low:.0f}-{100 * high:.0f})"
        seconds = f"{row.seconds('fit'):.1f}+{row.seconds('predict'):.1f}"
        rows.append(
            (
                _called(row.method, row.variant, row.shots),
                accuracy,
                gain,
                p,
                f"{100 * row.metrics['ece']:.0f}",
                seconds,
                _extra(row),
            )
        )
    title = (
        f"{made.data.name}: {len(made.test)} {made.measured} photos, {len(made.classes)} classes, {made.spec['name']}"
    )
    columns = ["system", "top-1 (95 %)", "gain", "p", "ECE", "fit+predict s", "extra"]
    show_table(columns, rows, right=range(1, 6), title=title, spare=(5, 6, 4))
    for reason, labels in made.reasons().items():
        show(f"{'; '.join(labels)}: {reason}")
    choice = made.choice
    if choice is None:
        show("No recommendation: there is no val or train split to choose on.")
        return
    on, test = choice["chosen_on"], choice["test"]
    called = _called(choice["method"], choice["variant"], choice["shots"])
    apart = "that fit had seen too" if on["seen_by_fit"] else "apart from test, seen by no system"
    show(f"Recommended: {called}: {100 * on['acc1']:.1f} % of {on['items']:.0f} photos {apart}.")
    show(f"On test it reached {100 * test['acc1']:.1f} % ({100 * test['ci95'][0]:.1f}-{100 * test['ci95'][1]:.1f}).")


def _called(slug: str, variant: str, shots: int) -> str:
    """Return what a row is called where it must be short: by the name that --methods takes."""
    return ", ".join(
        part for part in (slug, variant, f"{shots} shot{'' if shots == 1 else 's'}" if shots else "") if part
    )


def _extra(row: Row) -> str:
    """Return what a system was given besides class names."""
    given = {"photos": row.records[0].images, "texts": row.records[0].extra_texts}
    return ", ".join(f"{count} {what}" for what, count in given.items() if count) or "-"


def show_comparison(compared: Comparison) -> None:
    """Print mean ranks over several data sets."""
    rows = [
        (name, f"{rank:.2f}")
        for name, rank in sorted(zip(compared.systems, compared.ranks, strict=True), key=lambda pair: pair[1])
    ]
    show(f"\nMean rank over {len(compared.datasets)} data sets. {compared.remark}")
    show_table(["system", "rank"], rows, right=(1,))
