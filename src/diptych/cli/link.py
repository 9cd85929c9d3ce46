"""``diptych link``: which records of one table are those of another?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import say, say_skipped, show, show_json
from diptych.core.errors import DataError, UnreadableItem, UsageError


def link(
    left: Annotated[
        str, typer.Argument(help="A table, folder or tar of records: pictures, texts or both.", show_default=False)
    ],
    right: Annotated[str, typer.Argument(help="Another one, in which the partners are.", show_default=False)],
    pairs: Annotated[
        Path | None,
        options.option(
            "--pairs", help="Labelled matches: a table with the columns left and right.", show_default=False
        ),
    ] = None,
    ids: Annotated[
        str | None,
        options.option(
            "--ids",
            help="Columns that --pairs names records by: LEFT,RIGHT (default: row numbers from 0).",
            show_default=False,
        ),
    ] = None,
    texts: Annotated[
        str | None,
        options.option(
            "--text-columns", help="Columns with the texts: LEFT,RIGHT or one for both.", show_default=False
        ),
    ] = None,
    images: Annotated[
        str | None,
        options.option(
            "--image-columns", help="Columns with the pictures: LEFT,RIGHT or one for both.", show_default=False
        ),
    ] = None,
    method: Annotated[
        str, options.option("--method", "-m", help="A retriever; see diptych systems --verb retrieve.")
    ] = "clippings",
    variant: Annotated[
        str | None,
        options.option(
            "--variant", help="A row of its card (clippings: maps with pairs, else mean).", show_default=False
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        options.option("--threshold", help="Link from this score on (default: chosen on --pairs).", show_default=False),
    ] = None,
    one_to_one: Annotated[bool, options.option("--one-to-one", help="Link no record twice.")] = False,
    out: Annotated[Path, options.option("--out", "-o", help="CSV to write.")] = Path("links.csv"),
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
    """Link the records of two tables by pictures and texts, with a threshold that labelled pairs choose."""
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists: give another --out or --overwrite.")
    from diptych.data.records import open_records

    keys = options.file_keys(cache, verify)
    (lt, rt), (li, ri) = _two(texts), _two(images)
    a, b = open_records(left, keys, image=li, text=lt), open_records(right, keys, image=ri, text=rt)
    known = _pairs(pairs, a, b, _two(ids)) if pairs is not None else []

    from diptych import catalog
    from diptych.core.method import Retriever
    from diptych.data.files import write_whole
    from diptych.tasks.link import link as link_records

    system = catalog.find(method)
    if not issubclass(system, Retriever):
        raise UsageError(f"{method} links no records: see 'diptych systems --verb retrieve'.")
    row = variant if variant is not None else ("maps" if known else "mean") if method == "clippings" else ""
    if row not in system.card.variants:
        raise UsageError(
            f"{method} has no variant {row!r}, only {', '.join(v or '(default)' for v in system.card.variants)}."
        )
    run = options.open_run(device, precision, batch, workers, cache, engine=engine)
    tower = options.open_backbone(backbone, run) if system.card.needs.hooks else None
    found = link_records(
        a, b, system(**system.card.variants[row]), tower, run, pairs=known, threshold=threshold, one_to_one=one_to_one
    )
    keys.close()
    write_whole(out, found.as_csv(), overwrite=overwrite)
    if json:
        show_json(found.as_dict())
    else:
        show(f"{len(found.links)} of {len(a)} records are linked, in {out}")
    if found.labelled:
        said = ", ".join(f"{name} {100 * found.labelled[name]:.0f} %" for name in ("precision", "recall"))
        about = f"of {found.labelled['val']:.0f} labelled records, the nearest is right for {100 * found.labelled['nearest_right']:.0f} %"
        say(f"{about}; from the threshold {found.threshold:.4f} on, {said}")
    say_skipped(found.failed)
    if found.failed:
        raise typer.Exit(UnreadableItem.exit_code)


def _two(given: str | None) -> tuple[str | None, str | None]:
    if given is None:
        return None, None
    parts = options.words(given)
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
    found = []
    places = [_numbered(records, column) for records, column in zip((left, right), ids, strict=True)]
    for number, cells in enumerate(zip(columns["left"], columns["right"], strict=True), 1):
        at = [place.get(str(cell)) for place, cell in zip(places, cells, strict=True)]
        if None in at:
            raise DataError(f"Row {number} of {path} names {cells[at.index(None)]!r}, which is in no table: see --ids.")
        found.append((at[0] or 0, at[1] or 0))
    return found


def _numbered(records: Any, column: str | None) -> dict[str, int]:
    if column is None:
        return {str(i): i for i in range(len(records))}
    if not any(column in f for f in records.facts):
        raise DataError(f"There is no column {column!r} to name records by: see --ids.")
    return {str(f[column]): i for i, f in enumerate(records.facts) if column in f}
