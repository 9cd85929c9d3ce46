"""Tables of light curves with classes: one table of measurements, and beside it, if anything is labelled, one of
stars.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from diptych.core.data import Subset, Table
from diptych.core.errors import DataError
from diptych.data.format import Format
from diptych.data.formats.lightcurves import LightCurves, read_light_curves
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column
from diptych.data.named_sets import located
from diptych.data.rows import SUFFIXES, header, read_columns

CURVES, STARS = "light_curves", ("stars.csv", "objects.csv")
"""In a folder: stem of the table of measurements, and names of the table of stars; the first that is there counts."""
COLUMNS = {
    "id": ("star_id", "object_id", "source_id", "star", "id", "name"),
    "time": ("time", "mjd", "hjd", "bjd", "jd", "time_mjd"),
    "value": ("mag", "magnitude", "flux", "value"),
    "error": ("mag_err", "flux_err", "error", "err"),
    "band": ("band", "filter", "passband"),
    "label": ("label", "class", "class_name"),
}
"""What a column is -> names by which it is found, the first that is there; error, band and label may be absent."""


def holds_curves(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder with a table of measurements, or such a table: one that names objects, times
    and values.
    """
    path = located(path)
    table = _table(path)
    if table is None:
        return False
    held = header(table)
    return table != path or all(_found(role, held) for role in ("id", "time", "value"))


def read_curves(path: Path, label: str = "") -> LabelledData:
    """Read light curves.

    Args:
        path: a table with one measurement a row, whose columns are found by name, see ``COLUMNS``; or a folder that
            holds one as light_curves.csv, .tsv or .parquet, and perhaps stars.csv with a row for each star: its name,
            and perhaps class and split.
        label: column of the class in stars.csv; "": found by name.

    Returns:
        Curves by split; all are "test" where nothing is labelled, and "train" where no split is named. A star without a
        class stands in "unlabelled".

    Raises:
        DataError: a column is missing, a star has no measurements, or a split is none.
    """
    table = _table(path)
    assert table is not None
    held = header(table)
    roles = {role: _found(role, held) for role in ("id", "time", "value", "error", "band")}
    if missing := [role for role in ("id", "time", "value") if roles[role] is None]:
        asked = ", ".join(COLUMNS[missing[0]])
        raise DataError(
            f"{table} has no column for the {missing[0]} of a measurement, only {', '.join(held)}: call it one of "
            f"{asked}."
        )
    curves = read_light_curves(
        table, str(roles["id"]), str(roles["time"]), str(roles["value"]), roles["error"], roles["band"]
    )
    name = path.resolve().stem
    stars = next((p for p in (table.with_name(s) for s in STARS) if table != path and p.is_file()), None)
    if stars is None:
        if label:
            raise DataError(f"There is no {STARS[0]} beside {table} that could hold the column {label!r}: add it.")
        return LabelledData(name, (), {"test": Table(curves)})
    return _labelled(name, curves, stars, label)


def _labelled(name: str, curves: LightCurves, stars: Path, label: str) -> LabelledData:
    cells = read_columns(stars)
    identity, spoken = _found("id", tuple(cells)), label or _found("label", tuple(cells))
    if identity is None or (label and label not in cells):
        raise DataError(f"{stars} has no column {label or 'that names the stars'}, only {', '.join(cells)}: add it.")
    ids = [str(c) for c in cells[identity]]
    known = curves.rows("", ids)
    said = [str(c or "") for c in cells[spoken]] if spoken else [""] * len(ids)
    asked = [str(c).lower() for c in cells["split"]] if "split" in cells else ["train" if spoken else "test"] * len(ids)
    if wrong := [s for s in asked if s not in SPLIT_NAMES]:
        raise DataError(f"{stars} names the split {wrong[0]!r}: use {', '.join(SPLITS)}.")
    classes = tuple(sorted({c for c in said if c}))
    splits = {}
    for split in SPLITS:
        own = [i for i, s in enumerate(asked) if SPLIT_NAMES[s] == split and (said[i] or not spoken)]
        if own:
            labels = {"label": label_column([said[i] for i in own], classes)} if spoken else {}
            splits[split] = Table(Subset(known, tuple(own)), labels)
    if rest := tuple(i for i, c in enumerate(said) if spoken and not c):
        splits["unlabelled"] = Table(Subset(known, rest))
    return LabelledData(name, classes, splits)


def _table(path: Path) -> Path | None:
    if path.is_dir():
        return next((p for p in (path / f"{CURVES}{s}" for s in sorted(SUFFIXES)) if p.is_file()), None)
    return path if path.is_file() and path.suffix.lower() in SUFFIXES else None


def _found(role: str, held: Sequence[str]) -> str | None:
    return next((name for name in COLUMNS[role] if name in held), None)


STAR_TABLE = Format(
    f"a table of measurements, or a folder with {CURVES}.csv or .parquet",
    lambda path, ask: _table(path) is not None,
    lambda path, ask: read_curves(path, ask.label),
    frozenset(("curves",)),
)
