"""Light curves: long tables with one measurement per row, and tables with one curve (or spectrum) a row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UnreadableItem
from diptych.core.wording import columns_there
from diptych.data.formats.arrays import array_key
from diptych.data.rows import read_columns, refuse


@dataclass(frozen=True)
class LightCurve:
    """One irregular series, ascending in time.

    Args:
        time: (T,) float64, in the table's unit; of a spectrum, the wavelength.
        value: (T,) float64, magnitude or flux as in the table.
        error: (T,) float64, NaN for empty cells; None without such a column.
        band: (T,) text; None without such a column.
    """

    time: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64] | None = None
    band: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class LightCurves:
    """Light curves as samples, in memory as flat columns: about 24 bytes a measurement.

    Args:
        ids: N names of objects.
        starts: (N + 1,) position of the first measurement of each, and the number of all.
        columns: "time", "value" and optionally "error" and "band", flat.
    """

    ids: tuple[str, ...]
    starts: NDArray[np.int64] = field(repr=False, compare=False)
    columns: dict[str, NDArray[Any]] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int, /) -> LightCurve:
        index = range(len(self))[index]
        cut = slice(self.starts[index], self.starts[index + 1])
        curve = LightCurve(**{name: column[cut] for name, column in self.columns.items()})
        if not (np.isfinite(curve.time).all() and np.isfinite(curve.value).all()):
            raise UnreadableItem(self.ids[index], "holds times or values that are not finite")
        return curve

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the measurements.

        Raises:
            UnreadableItem: they are not finite.
        """
        curve = self[index]
        parts = [curve.time, curve.value] + ([] if curve.error is None else [curve.error])
        return array_key(*parts, np.array("\n".join([] if curve.band is None else curve.band.tolist()).encode("utf-8")))

    def name(self, index: int, /) -> str:
        """Return the object's name."""
        return self.ids[index]

    def rows(self, folder: str, ids: Sequence[str]) -> LightCurves:
        """Return the curves of the given objects; an argument for ``read_typed``, whose folder is not used.

        Raises:
            DataError: an object has no measurements, or several curves.
        """
        position: dict[str, int] = {}
        for i, name in enumerate(self.ids):
            if position.setdefault(name, i) != i:
                raise DataError(f"{name!r} has several curves: choose among them by position, with core.data.Subset.")
        if missing := [i for i in ids if i not in position]:
            raise DataError(f"{missing[0]!r} has no measurements: remove its row, or add them.")
        cuts = [np.arange(self.starts[position[i]], self.starts[position[i] + 1]) for i in ids]
        starts = np.concatenate([[0], np.cumsum([len(c) for c in cuts])]).astype(np.int64)
        flat = np.concatenate(cuts) if cuts else np.empty(0, dtype=np.int64)
        return LightCurves(tuple(ids), starts, {name: column[flat] for name, column in self.columns.items()})


def read_light_curves(
    path: str | os.PathLike[str],
    identity: str,
    time: str,
    value: str,
    error: str | None = None,
    band: str | None = None,
) -> LightCurves:
    """Read light curves.

    Args:
        path: .csv, .tsv, .jsonl or .parquet with one measurement per row, unordered; or .jsonl or .parquet whose time,
            value and error are lists, with one curve per row.
        identity: column with the object.
        time: column of times.
        value: column of magnitudes or fluxes.
        error: column of their errors, if any; empty cells are NaN.
        band: column of the passbands, if any.

    Returns:
        One curve an object, in the order in which objects first occur, each ascending in time; measurements at one time
        keep their order. With lists: one curve per row.

    Raises:
        UsageError: no such file, or not a table.
        DataError: a column is missing, a time or value is no number, an object has no name, or lists differ in length.
    """
    table = Path(path)
    wanted = (
        {"id": identity, "time": time, "value": value}
        | ({"error": error} if error else {})
        | ({"band": band} if band else {})
    )
    cells = read_columns(table, set(wanted.values()).__contains__)
    if missing := [c for c in wanted.values() if c not in cells]:
        raise DataError(f"{table} has no column {missing[0]!r}, only {columns_there(cells)}: name the columns.")
    names = ["" if v is None else str(v) for v in cells[identity]]
    if "" in names:
        raise DataError(f"Row {names.index('') + 1} of {table} has no {identity}: fill it, or remove the row.")
    columns = {role: cells[c] for role, c in wanted.items() if role != "id"}
    if names and isinstance(columns["time"][0], list):
        counts = [len(t or ()) for t in columns["time"]]
        if any(len(v or ()) != n for role in columns for v, n in zip(columns[role], counts, strict=True)):
            raise DataError(f"{table} holds a row whose lists differ in length: correct it.")
        ids, owner = names, np.repeat(np.arange(len(names)), counts)
        columns = {role: [v for row in values for v in (row or ())] for role, values in columns.items()}
    else:
        position = {name: i for i, name in enumerate(dict.fromkeys(names))}
        ids, owner = list(position), np.array([position[n] for n in names], dtype=np.int64)
    try:
        flat: dict[str, NDArray[Any]] = {role: _numbers(v) for role, v in columns.items() if role != "band"}
    except (TypeError, ValueError) as trouble:
        refuse(table, trouble)
    if "band" in columns:
        flat["band"] = np.array(["" if v is None else str(v) for v in columns["band"]], dtype=np.str_)
    order = np.lexsort((flat["time"], owner))
    starts = np.searchsorted(owner[order], np.arange(len(ids) + 1)).astype(np.int64)
    return LightCurves(tuple(ids), starts, {role: column[order] for role, column in flat.items()})


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if v is None or v == "" else float(v) for v in values], dtype=np.float64)
