"""``diptych board audit``: all findings about several backbones, beside the first one's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.audit.tables import MoreTables
from diptych.cli.bench_command import end_board
from diptych.cli.board import command_line
from diptych.cli.console import say, short_names, show_table
from diptych.core import DataError, UsageError

if TYPE_CHECKING:
    from diptych.evaluation.boards.audit import AuditBoard, Audited, Key


@options.offers("overwrite", *options.MODEL)
def board_audit(
    data: Annotated[
        str, typer.Argument(help="A folder of classes, or a table with classes or captions; test, and perhaps train.")
    ],
    against: Annotated[
        list[str] | None,
        options.option(
            "--against", help="A backbone to compare with --backbone; repeat for several.", rich_help_panel="Model"
        ),
    ] = None,
    names: options.Names = None,
    only: Annotated[str, options.option("--only", help="Audits to run, with commas (default: all).")] = "",
    seed: Annotated[int, options.option("--seed", help="Seed of halves and controls.")] = 0,
    budget: Annotated[
        float | None,
        options.option("--budget", help="Seconds for all rows; those that are finished by then are shown."),
    ] = None,
    out: Annotated[Path, options.option("--out", "-o", help="Folder for rows and board.")] = Path("out/board-audit"),
    *,
    more: MoreTables,
    shared: options.RunOptions,
) -> None:
    """Run the same audits on several backbones, and compare each with the first, paired where possible."""
    from diptych.evaluation.boards.audit import AuditBench, audit_board
    from diptych.evaluation.boards.rows import expect

    if not against:
        raise UsageError("A board of audits compares at least two backbones: give another one with --against.")
    if not shared.overwrite:
        expect(out, "audit")
    with shared.open(seed=seed) as opened:
        given = more.open(data, opened)
        base = opened.backbone()
        tables, failed = given.gathered(names, base, opened.run)
        chosen = tuple(flag_values.words(only)) if only else ()
        bench = AuditBench(given.own.name, tables, base, opened.run, chosen, failed)
        if not shared.overwrite:
            expect(out, "audit", bench.facts)
        board = audit_board(bench, against, opened.backbone, budget=budget, keep=out, command=command_line())
    board.write(out, overwrite=True)
    lacking = {audit: reason for row in board.rows for audit, reason in row.lacking.items()}
    if not any(f["value"] is not None for row in board.rows for f in row.findings):
        raise DataError(f"Nothing could be tested on {data}: {' '.join(lacking.values())}")
    end_board(board, out, shared.json, _show, (f"{a} was not run: {reason}" for a, reason in lacking.items()))


def _show(board: AuditBoard) -> None:
    """Print a line for each finding that is testable for a backbone, and a column for each backbone."""
    keys = [key for key in board.keys if any(_finding(row, key, "value") is not None for row in board.rows)]
    shown = [
        (
            f"{measure.replace('_', ' ')}{' about ' if about else ''}{about}",
            *(_cell(board, row, key) for row in board.rows),
        )
        for key in keys
        for _, measure, about in (key,)
    ]
    counted = sum(p["items"] for p in board.facts["tables"].values())
    title = f"{board.facts['dataset']}: {counted} items, * differs from {board.rows[0].backbone} beyond doubt"
    names = short_names([row.backbone for row in board.rows])
    show_table(["finding, 95 % interval", *names], shown, title=title, spare=range(len(names), 1, -1))
    silent = len(board.keys) - len(keys)
    if silent:
        say(f"Not testable here: {silent} of {len(board.keys)} measures. The JSON says why.")


def _finding(row: Audited, key: Key, name: str) -> Any:
    number = row.keys().get(key)
    return None if number is None else row.findings[number][name]


def _cell(board: AuditBoard, row: Audited, key: Key) -> str:
    value = _finding(row, key, "value")
    if value is None:
        return "-"
    factor, digits = (100, 1) if _finding(row, key, "unit") == "fraction" else (1, 2)
    interval = _finding(row, key, "interval")
    low, high = ("" if e is None else f"{factor * e:.{digits}f}" for e in interval or (None, None))
    ends = f" [{low}, {high}]" if interval else ""
    found = board.gain(row, key)
    differs = found is not None and (found[0].low > 0 or found[0].high < 0)
    return f"{factor * value:.{digits}f}{ends}{'*' if differs else ''}"
