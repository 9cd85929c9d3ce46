"""``diptych board VERB``: options, files and table that all boards but that of classify share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from diptych.cli import flag_values, options
from diptych.cli.board import command_line, leave
from diptych.cli.console import say, show, show_json, show_table
from diptych.cli.unread import refuse_idle, typed

if TYPE_CHECKING:
    from diptych.evaluation.arms import Arm, Bench
    from diptych.evaluation.boards.verb import Row, VerbBoard
    from diptych.features.artefacts import About

NAMES = {
    "precision": "right %",  # of curate; all names that are not listed, such as "kept", are in percent
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
    "pq": "PQ %",
    "pq_things": "PQ things %",
    "pq_stuff": "PQ stuff %",
    "mask_ap": "mask AP %",
    "image_auroc": "AUROC %",
    "image_ap": "AP %",
    "pixel_auroc": "pixel AUROC %",
    "pixel_ap": "pixel AP %",
    "pro": "PRO %",
    "false_alarms": "alarms %",
    "detected": "found %",
    "eer": "EER %",
    "hter": "HTER %",
    "acer": "ACER %",
    "fit_seconds": "fit s",
    "images_a_second": "img/s",
    "region_accuracy": "regions %",
    "crop_accuracy": "crops %",
    "slot_accuracy": "slots %",
    "dense_probe_miou": "dense mIoU %",
    "steps": "steps",
    "train_seconds": "train s",
}
PLAIN = ("fit_seconds", "images_a_second", "steps", "train_seconds")
"""Numbers that are shown with one digit."""
"""Metric -> heading; those in percent are fractions in files."""


@dataclass(frozen=True)
class BoardOptions:
    """The options of every board."""

    methods: Annotated[
        str | None,
        options.option(
            "--methods",
            help="Systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).",
        ),
    ] = None
    settings: options.RowSettings = None
    seeds: Annotated[str, options.option("--seeds", help="Seeds of draws and trainings.")] = "1,2,3"
    budget: Annotated[
        float | None,
        options.option("--budget", help="Seconds for all rows; those that are finished by then are shown."),
    ] = None
    out: Annotated[Path, options.option("--out", "-o", help="Folder for rows and board.")] = Path("out/board")


@dataclass(frozen=True)
class LoadedOptions:
    """Rows that were fitted before."""

    fitted: Annotated[
        list[Path] | None,
        options.option(
            "--fitted",
            help="Folder of a fitted system, which is measured as it is; repeat for several. Without --methods, no "
            "system is fitted beside them but those of the baseline rows.",
        ),
    ] = None


def board_command(
    verb: str,
    *,
    every: bool = False,
    without: Callable[[], tuple[Arm, ...]] = tuple,
    loads: bool = False,
    **fixed: Any,
) -> Callable[[Callable[..., Bench]], Callable[..., None]]:
    """Make a command of a function (open run, seeds, its own options) -> Bench. It opens the data, which may be absent,
    before the backbone.

    Args:
        verb: what the systems do.
        every: whether all rows of all cards are run, where no methods are named.
        without: the rows that are not.
        loads: whether the bench reads systems that were fitted before.
        fixed: values of options of ``RunOptions`` that this verb does not offer.
    """
    mine, common = BoardOptions(out=Path(f"out/board-{verb}")), options.RunOptions(**fixed)

    def decorate(function: Callable[..., Bench]) -> Callable[..., None]:
        function.__annotations__.pop("return", None)  # a name that only a type checker imports
        verb_parameters = list(inspect.signature(function, eval_str=True).parameters.values())[2:]
        kind = inspect.Parameter.KEYWORD_ONLY

        @functools.wraps(function)
        def command(
            *, requested: BoardOptions, shared: options.RunOptions, kept: LoadedOptions = LoadedOptions(), **given: Any
        ) -> None:
            from diptych.core.settings import by_system
            from diptych.evaluation.boards.choice import arms_of, in_lengths, loaded_arms, stated_of
            from diptych.evaluation.boards.rows import expect
            from diptych.evaluation.boards.verb import verb_board

            if not shared.overwrite:
                expect(requested.out, verb)
            folders = kept.fitted or []
            abouts = stated_of(verb, folders)
            shared = _on_backbone_of(shared, folders, abouts)
            if folders and not requested.methods:
                refuse_idle("Only systems of folders are measured, which keep their settings", "settings")
            methods = flag_values.words(requested.methods) if requested.methods else () if folders else None
            settings = by_system(requested.settings or ())
            arms = arms_of(verb, methods, every=every, without=without(), settings=settings)
            with shared.open() as opened:
                bench = function(opened, flag_values.integers(requested.seeds, "seeds"), **given)
                if not shared.overwrite:
                    expect(requested.out, verb, bench.facts)
                budget, out = requested.budget, requested.out
                arms = in_lengths(arms, tuple(getattr(bench, "lengths", ())))
                if folders:
                    arms += loaded_arms(bench, folders, abouts)  # type: ignore[arg-type]
                board = verb_board(verb, bench, arms, budget=budget, keep=out, command=command_line())
            board.write(out, overwrite=True)
            end_board(board, out, shared.json, _show)

        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                *(p.replace(kind=kind) for p in verb_parameters),
                inspect.Parameter("requested", kind, default=mine, annotation=BoardOptions),
                *(
                    [inspect.Parameter("kept", kind, default=LoadedOptions(), annotation=LoadedOptions)]
                    if loads
                    else ()
                ),
                inspect.Parameter("shared", kind, default=common, annotation=options.RunOptions),
            ]
        )
        return options.offers(*(name for name in ("overwrite", *options.MODEL) if name not in fixed))(command)

    return decorate


def _on_backbone_of(shared: options.RunOptions, folders: Sequence[Path], abouts: Sequence[About]) -> options.RunOptions:
    """Return options with the backbone on which the folders were fitted, where the user names none."""
    from diptych.evaluation.boards.choice import backbone_of

    name = None if "backbone" in typed.get() else backbone_of(folders, abouts)
    return replace(shared, backbone=name) if name else shared


def end_board(board: Any, out: Path, json: bool, table: Callable[[Any], None], more: Iterable[str] = ()) -> None:
    """Print the board by ``table``, then what is missing, late, ``more`` or skipped, and leave with the exit code."""
    if json:
        show_json(board.as_dict())
    else:
        if board.rows:
            table(board)
        show(str(out / "board.json"))
    for label, reason in (*board.missing.items(), *board.late.items()):
        say(f"{label} did not run: {reason}")
    for line in more:
        say(line)
    leave(board.failed, board.interrupted)


def _show(board: VerbBoard) -> None:
    facts, seeds = board.facts, ", ".join(map(str, board.facts["seeds"]))
    columns = ["system", f"{NAMES[board.metric]} (95 %)", "gain", *map(_heading, board.others), "s"]
    last = range(len(columns) - 1, 2, -1)
    title = f"{facts['dataset']}: {facts['items']} items, {facts['backbone']}, seeds {seeds}, gain over {facts['base']}"
    title += f", alarms at a rate of {facts['rate']:g}" if "false_alarms" in board.others else ""
    show_table(columns, [_cells(r, board) for r in board.rows], right=range(1, len(columns)), title=title, spare=last)


def _cells(row: Row, board: VerbBoard) -> tuple[str, ...]:
    factor, digits = (100, 1) if "%" in NAMES[board.metric] else (1, 3)
    value, low, high = (f"{factor * v:.{digits}f}" for v in (row.value.value, row.value.low, row.value.high))
    gain = ""
    if row.gain is not None:
        gained, least, most = (f"{factor * v:+.{digits}f}" for v in (row.gain.value, row.gain.low, row.gain.high))
        gain = f"{gained} ({least} to {most})"
    return (
        row.label,
        f"{value} ({low}-{high})",
        gain,
        *(_number(name, row.others) for name in board.others),
        f"{row.seconds:.1f}",
    )


def _heading(name: str) -> str:
    return NAMES.get(
        name, f"{name.removeprefix('acc1 on ')} %"
    )  # top-1 on another set, by its name alone: columns are dear


def _number(name: str, others: Any) -> str:
    if name not in others:
        return "-"
    return f"{100 * others[name]:.1f}" if "%" in _heading(name) else f"{others[name]:.{1 if name in PLAIN else 3}f}"
