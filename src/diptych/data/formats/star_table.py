"""Light curves with classes: a table of measurements, and optionally a table of stars beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from diptych.core import DataError, Subset, Table
from diptych.core.wording import columns_there
from diptych.data.format import Format
from diptych.data.formats.lightcurves import LightCurves, read_light_curves
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column
from diptych.data.named_sets import located
from diptych.data.rows import SUFFIXES, header, read_columns

CURVES, STARS = "light_curves", ("stars.csv", "objects.csv")
"""In a folder: stem of the table of measurements, and names of the table of stars, of which the first is read."""
COLUMNS = {
    "id": ("star_id", "object_id", "source_id", "star", "id", "name"),
    "time": ("time", "mjd", "hjd", "bjd", "jd", "time_mjd"),
    "value": ("mag", "magnitude", "flux", "value"),
    "error": ("mag_err", "flux_err", "error", "err"),
    "band": ("band", "filter", "passband"),
    "label": ("label", "class", "class_name"),
}
"""Role of a column -> its usual names, of which the first is read. Columns error, band and label may be absent."""


def holds_curves(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a table of measurements, or a folder with one.

    Such a table has columns of objects, times and values.
    """
    path = located(path)
    table = _table(path)
    if table is None:
        return False
    names = header(table)
    return table != path or all(_column(role, names) for role in ("id", "time", "value"))


def read_curves(path: Path, label: str = "") -> LabelledData:
    """Read light curves.

    Args:
        path: a table with one measurement per row and columns of ``COLUMNS``; or a folder with one as light_curves.csv,
            .tsv or .parquet. stars.csv in that folder may have a row for each star with its name, class and split.
        label: column of the class in stars.csv; "" uses the usual names.

    Returns:
        Curves by split: all are "test" without labels, and "train" without a column split. Stars without a class are
        "unlabelled".

    Raises:
        DataError: a column is missing, a star has no measurements, a split has an unknown name, or a star is in two.
    """
    table = _table(path)
    assert table is not None
    names = header(table)
    if not names:
        read_columns(table)  # says why it cannot be read
    roles = {role: _column(role, names) for role in ("id", "time", "value", "error", "band")}
    if missing := [role for role in ("id", "time", "value") if roles[role] is None]:
        usual = ", ".join(COLUMNS[missing[0]])
        raise DataError(
            f"{table} has no column for the {missing[0]} of a measurement, only {columns_there(names)}: call it one of "
            f"{usual}."
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
    identity, label_name = _column("id", tuple(cells)), label or _column("label", tuple(cells))
    if identity is None or (label and label not in cells):
        raise DataError(
            f"{stars} has no column {label or 'that names the stars'}, only {columns_there(cells)}: add it."
        )
    ids = [str(c) for c in cells[identity]]
    samples = curves.rows("", ids)
    labels_of = [str(c or "") for c in cells[label_name]] if label_name else [""] * len(ids)
    split_names = (
        [str(c).lower() for c in cells["split"]] if "split" in cells else ["train" if label_name else "test"] * len(ids)
    )
    if wrong := [s for s in split_names if s not in SPLIT_NAMES]:
        raise DataError(f"{stars} names the split {wrong[0]!r}: use {', '.join(SPLITS)}.")
    sides: dict[str, str] = {}
    for star, split in zip(ids, (SPLIT_NAMES[s] for s in split_names), strict=True):
        if sides.setdefault(star, split) != split:
            raise DataError(f"{stars} has {star} in {sides[star]} and in {split}: keep it in one of them.")
    classes = tuple(sorted({c for c in labels_of if c}))
    splits = {}
    for split in SPLITS:
        rows = [i for i, s in enumerate(split_names) if SPLIT_NAMES[s] == split and (labels_of[i] or not label_name)]
        if rows:
            labels = {"label": label_column([labels_of[i] for i in rows], classes)} if label_name else {}
            splits[split] = Table(Subset(samples, tuple(rows)), labels)
    if rest := tuple(i for i, c in enumerate(labels_of) if label_name and not c):
        splits["unlabelled"] = Table(Subset(samples, rest))
    return LabelledData(name, classes, splits)


def _table(path: Path) -> Path | None:
    if path.is_dir():
        return next((p for p in (path / f"{CURVES}{s}" for s in sorted(SUFFIXES)) if p.is_file()), None)
    return path if path.is_file() and path.suffix.lower() in SUFFIXES else None


def _column(role: str, names: Sequence[str]) -> str | None:
    return next((name for name in COLUMNS[role] if name in names), None)


STAR_TABLE = Format(
    f"a table of measurements, or a folder with {CURVES}.csv or .parquet",
    lambda path, request: _table(path) is not None,
    lambda path, request: read_curves(path, request.label),
    frozenset(("curves",)),
)
