"""Results that were measured elsewhere, such as accuracies under 3D corruptions or those of a language model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.core import DataError, Finding, Subject, UsageError
from diptych.core.wording import columns_there
from diptych.data.rows import filled, read_columns

NEEDED, OPTIONAL = ("model", "measure", "value"), ("about", "low", "high", "count")


def with_measured(subjects: Mapping[str, Subject], path: str | os.PathLike[str]) -> dict[str, Subject]:
    """Return the subjects with the rows of a table about them.

    Args:
        subjects: name -> model.
        path: table with the columns model, measure and value, a fraction in [0, 1]; and perhaps about (a part of the
            data), low and high (95 % interval) and count (items).

    Raises:
        DataError: a column or a cell is missing, or a value is no fraction.
        UsageError: there is no such table, or a row is about none of the subjects.
    """
    cells: dict[str, list[Any]] = dict(read_columns(path))
    for name in NEEDED:
        if name not in cells:
            raise DataError(f"{path} has no {name!r}, only {columns_there(cells)}: give model, measure and value.")
        cells[name] = list(filled(Path(path), name, cells[name]))
    findings: dict[str, list[Finding]] = {}
    for i, model in enumerate(cells["model"]):
        if model not in subjects:
            raise UsageError(
                f"Row {i + 1} of {path} is about {model!r}, but the audit is of {', '.join(subjects)}: add it with "
                f"{{against}}, or remove the row."
            )
        row = {name: str(cells[name][i] or "") if name in cells else "" for name in (*NEEDED, *OPTIONAL)}
        findings.setdefault(model, []).append(_finding(row, f"Row {i + 1} of {path}"))
    return {name: replace(s, measured=(*s.measured, *findings.get(name, ()))) for name, s in subjects.items()}


def _finding(row: Mapping[str, str], where: str) -> Finding:
    try:
        numbers: dict[str, Any] = {name: float(row[name]) for name in ("value", "low", "high") if row[name]}
        count = int(row["count"]) if row["count"] else None
        ends = (numbers["low"], numbers["high"]) if len(numbers) == 3 else None
        return Finding(
            row["model"], row["measure"].replace(" ", "_"), numbers["value"], ends, row["about"],
            {"measured": "elsewhere"}, range=(0.0, 1.0), count=count,
        )  # fmt: skip
    except (ValueError, UsageError) as error:
        raise DataError(
            f"{where} is not a result, a fraction from 0 to 1 with low and high round it: {error}"
        ) from error
