"""``diptych board VERB``: the options, files and table that the boards of all verbs but classify share. A verb adds
what it opens.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.board import command_line
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.core.errors import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.core.backbone import Backbone
    from diptych.core.run import Run
    from diptych.data.keys import FileKeys
    from diptych.evaluation.arms import Arm, Bench
    from diptych.evaluation.boards.verb import Row, VerbBoard

NAMES = {
    "precision": "right %",  # of curate; "kept" and "balance" are in percent, as all names that are not listed
    "t": "t",
    "cider_d": "CIDEr-D",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "clip_score": "CLIPScore",
    "acc1": "top-1 %",
    "recall_at_1": "R@1 %",
    "recall@1": "R@1 %",
    "miou": "mIoU %",
    "pixel_accuracy": "pixels %",
    "image_auroc": "AUROC %",
    "image_ap": "AP %",
    "pixel_auroc": "pixel AUROC %",
    "pixel_ap": "pixel AP %",
    "pro": "PRO %",
    "false_alarms": "alarms %",
    "detected": "found %",
    "fit_seconds": "fit s",
}
"""Metric -> heading; those in percent are fractions in files."""


@dataclass(frozen=True)
class Shared:
    """What every board is asked. ``verb`` is no option, and a command may fix others."""

    verb: str
    methods: Annotated[
        str | None,
        options.option(
            "--methods",
            help='Systems, "slug" or "slug:variant" of its card (default: all of the verb).',
            show_default=False,
        ),
    ] = None
    seeds: Annotated[str, options.option("--seeds", help="Seeds of draws and trainings.")] = "1,2,3"
    budget: Annotated[
        float | None,
        options.option("--budget", help="Seconds for all rows; what is done by then counts.", show_default=False),
    ] = None
    out: Annotated[Path, options.option("--out", "-o", help="Folder for board.json and board.csv.")] = Path("out/board")
    overwrite: options.Overwrite = False
    json: options.Json = False
    backbone: options.BackboneName = "lite"
    device: options.Device = "auto"
    precision: options.Precision = "fp32"
    engine: options.Engine = "auto"
    batch: options.Batch = 32
    workers: options.Workers = 2
    cache: options.Cache = None
    verify: options.Verify = False

    @cached_property
    def keys(self) -> FileKeys:
        """Remembered content keys of files."""
        return options.file_keys(self.cache, self.verify)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The seeds."""
        return options.integers(self.seeds, "seeds")

    def open(self) -> tuple[Backbone, Run]:
        """Load the backbone, and return it with the run: after the data, which may be absent."""
        run = options.open_run(self.device, self.precision, self.batch, self.workers, self.cache, engine=self.engine)
        return options.open_backbone(self.backbone, run), run


def board_command(
    verb: str, *, every: bool = False, without: Callable[[], tuple[Arm, ...]] = tuple, **fixed: Any
) -> Callable[[Callable[..., Bench]], Callable[..., None]]:
    """Make a command of a function (Shared, its own options) -> Bench.

    Args:
        verb: what the systems do.
        every: whether all rows of all cards are run, where no methods are named.
        without: the rows that are not.
        fixed: values of shared options that this verb does not offer.
    """

    def made(function: Callable[..., Bench]) -> Callable[..., None]:
        hints = typing.get_type_hints(Shared, include_extras=True)
        common = [f for f in fields(Shared) if f.name not in ("verb", *fixed)]
        function.__annotations__.pop("return", None)  # a name that only a type checker imports
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [p.replace(kind=kind) for p in own]
        for f in common:
            default = Path(f"out/board-{verb}") if f.name == "out" else f.default
            parameters.append(inspect.Parameter(f.name, kind, default=default, annotation=hints[f.name]))

        @functools.wraps(function)
        def command(**given: Any) -> None:
            from diptych.evaluation.boards.verb import arms_of, verb_board

            shared = Shared(verb, **fixed, **{f.name: given.pop(f.name) for f in common})
            taken = next((p for p in (shared.out / "board.json", shared.out / "board.csv") if p.exists()), None)
            if taken and not shared.overwrite:
                raise UsageError(f"{taken} exists: give another --out or --overwrite.")
            methods = options.words(shared.methods) if shared.methods else None
            arms = arms_of(verb, methods, every=every, without=without())
            bench = function(shared, **given)
            board = verb_board(verb, bench, arms, budget=shared.budget, command=command_line())
            shared.keys.close()
            board.write(shared.out, overwrite=shared.overwrite)
            _finish(board, shared.out, shared.json)

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {}  # the signature holds them, evaluated
        return command

    return made


def _finish(made: VerbBoard, out: Path, json: bool) -> None:
    """Print the board, then what is missing, late or skipped, and leave with the exit code that says so."""
    if json:
        show_json(made.as_dict())
    else:
        if made.rows:
            _show(made)
        show(str(out / "board.json"))
    for label, reason in (*made.missing.items(), *made.late.items()):
        say(f"{label} did not run: {reason}")
    say_skipped(made.failed)
    if made.interrupted:
        say("Interrupted: the board holds the rows that were finished.")
        raise typer.Exit(130)
    if made.failed:
        raise typer.Exit(UnreadableItem.exit_code)


def _show(made: VerbBoard) -> None:
    facts, seeds = made.facts, ", ".join(map(str, made.facts["seeds"]))
    columns = ["system", f"{NAMES[made.metric]} (95 %)", "gain", *map(_heading, made.others), "s"]
    last = range(len(columns) - 1, 2, -1)
    title = f"{facts['dataset']}: {facts['items']} items, {facts['backbone']}, seeds {seeds}, gain over {facts['base']}"
    show_table(columns, [_cells(r, made) for r in made.rows], right=range(1, len(columns)), title=title, spare=last)


def _cells(row: Row, made: VerbBoard) -> tuple[str, ...]:
    factor, digits = (100, 1) if "%" in NAMES[made.metric] else (1, 3)
    value, low, high = (f"{factor * v:.{digits}f}" for v in (row.value.value, row.value.low, row.value.high))
    gain = ""
    if row.gain is not None:
        own, least, most = (f"{factor * v:+.{digits}f}" for v in (row.gain.value, row.gain.low, row.gain.high))
        gain = f"{own} ({least} to {most})"
    return (
        row.label,
        f"{value} ({low}-{high})",
        gain,
        *(_number(name, row.others) for name in made.others),
        f"{row.seconds:.1f}",
    )


def _heading(name: str) -> str:
    return NAMES.get(
        name, f"{name.removeprefix('acc1 on ')} %"
    )  # top-1 on another set, by its name alone: columns are dear


def _number(name: str, others: Any) -> str:
    if name not in others:
        return "-"
    return (
        f"{100 * others[name]:.1f}"
        if "%" in _heading(name)
        else f"{others[name]:.{1 if name == 'fit_seconds' else 3}f}"
    )
