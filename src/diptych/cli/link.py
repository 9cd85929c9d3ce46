"""``diptych link``: which records of one table are those of another?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, say, show, show_json
from diptych.cli.unread import Readers, looks, refuse_unread
from diptych.core import DataError, UsageError
from diptych.tasks.defaults import slug_and_row

READERS: Readers = {"backbone": looks}


@dataclass(frozen=True)
class ColumnOptions:
    """Which columns are compared."""

    texts: Annotated[
        str | None, options.option("--text-columns", help="Columns with the texts: LEFT,RIGHT or one for both.")
    ] = None
    images: Annotated[
        str | None, options.option("--image-columns", help="Columns with the pictures: LEFT,RIGHT or one for both.")
    ] = None


@options.offers("overwrite", *options.MODEL)
def link(
    left: Annotated[str, typer.Argument(help="A table, folder or tar of records: pictures, texts or both.")],
    right: Annotated[str, typer.Argument(help="The table in which to look for matches.")],
    pairs: Annotated[
        Path | None, options.option("--pairs", help="Labelled matches: a table with the columns left and right.")
    ] = None,
    ids: Annotated[
        str | None,
        options.option(
            "--ids", help="Columns that name records, in --pairs and in the links: LEFT,RIGHT (default: rows from 0)."
        ),
    ] = None,
    method: Annotated[
        str, options.option("--method", "-m", help="A retriever; see diptych systems --verb retrieve.")
    ] = slug_and_row("link")[0],
    variant: Annotated[
        str | None,
        options.option(
            "--variant",
            help="Its variant ({}: {} with pairs, else {}).".format(
                *slug_and_row("link labelled"), slug_and_row("link")[1]
            ),
        ),
    ] = None,
    threshold: Annotated[
        float | None, options.option("--threshold", help="Link from this score on (default: chosen on --pairs).")
    ] = None,
    one_to_one: Annotated[bool, options.option("--one-to-one", help="Link no record twice.")] = False,
    groups: Annotated[
        Path | None,
        options.option("--groups", help="CSV of all records and their groups: what is linked, also by way of others."),
    ] = None,
    out: Annotated[Path, options.option("--out", "-o", help="CSV to write.")] = Path("links.csv"),
    *,
    columns: ColumnOptions,
    shared: options.RunOptions,
) -> None:
    """Link the records of two tables by pictures and texts, with a threshold that labelled pairs choose."""
    shared.free(out)
    shared.free(groups, flag="--groups")
    if groups is not None and groups.resolve() == out.resolve():
        raise UsageError(f"--groups and --out are both {out}: give each a file of its own.")

    from diptych import catalog
    from diptych.core import Retriever
    from diptych.data.files import write_whole
    from diptych.data.load import open_records
    from diptych.tasks.link import link as link_records

    slug, row = slug_and_row("link" if pairs is None else "link labelled")
    row = row if variant is None and method == slug else variant or ""
    system = catalog.row(catalog.find(method, Retriever), row)
    refuse_unread(system, READERS)
    system.check_extras(learns=pairs is not None)
    with shared.open() as opened:
        keys, (lt, rt), (li, ri) = opened.keys, _two(columns.texts), _two(columns.images)
        a = open_records(left, keys, image=li or "", text=lt or "")
        b = open_records(right, keys, image=ri or "", text=rt or "")
        known = _pairs(pairs, a, b, _two(ids)) if pairs is not None else []
        run = opened.run
        tower = opened.backbone() if system.card.needs.hooks else None
        result = link_records(
            a, b, system, tower, run, pairs=known, threshold=threshold, one_to_one=one_to_one,
            grouped=groups is not None, ids=_two(ids),
        )  # fmt: skip
    if groups is not None:
        write_whole(groups, result.groups_as_csv(), overwrite=shared.overwrite)
    write_whole(out, result.as_csv(), overwrite=shared.overwrite)
    if shared.json:
        show_json(result.as_dict())
    else:
        show(f"{len(result.links)} of {len(a)} records are linked, in {out}")
    if result.labelled:
        said = ", ".join(f"{name} {100 * result.labelled[name]:.0f} %" for name in ("precision", "recall"))
        summary = (
            f"of {result.labelled['val']:.0f} labelled records, the nearest is right for "
            f"{100 * result.labelled['nearest_right']:.0f} %"
        )
        if groups is not None:
            cubed = " and ".join(f"{n} {100 * result.labelled[f'group_{n}']:.0f} %" for n in ("precision", "recall"))
            say(f"of the groups, B-cubed {cubed}")
        say(f"{summary}; from the threshold {result.threshold:.4f} on, {said}")
    finish(result.failed)


def _two(given: str | None) -> tuple[str | None, str | None]:
    if given is None:
        return None, None
    parts = flag_values.words(given)
    if len(parts) not in (1, 2):
        raise UsageError(f"Give one column for both tables, or LEFT,RIGHT, not {given!r}.")
    return parts[0], parts[-1]


def _pairs(path: Path, left: Any, right: Any, ids: tuple[str | None, str | None]) -> list[tuple[int, int]]:
    from diptych.data.rows import read_columns

    columns = read_columns(path)
    if not {"left", "right"} <= set(columns):
        raise DataError(
            f"{path} has no columns left and right, only {', '.join(columns)}: name the two records of a match so."
        )
    pairs = []
    positions = [_numbered(records, column) for records, column in zip((left, right), ids, strict=True)]
    for number, cells in enumerate(zip(columns["left"], columns["right"], strict=True), 1):
        at = [position.get(str(cell)) for position, cell in zip(positions, cells, strict=True)]
        if None in at:
            raise DataError(f"Row {number} of {path} names {cells[at.index(None)]!r}, which is in no table: see --ids.")
        pairs.append((at[0] or 0, at[1] or 0))
    return pairs


def _numbered(records: Any, column: str | None) -> dict[str, int]:
    if column is None:
        return {str(i): i for i in range(len(records))}
    if not any(column in f for f in records.facts):
        raise DataError(f"There is no column {column!r} to name records by: see --ids.")
    return {str(f[column]): i for i, f in enumerate(records.facts) if column in f}
