"""``diptych.check``: what would spoil a run on a data set, before it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diptych.api.spelling import spell, spelled
from diptych.core import Run, UsageError
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.samples import as_data
from diptych.tasks.check import check as examine
from diptych.tasks.check_report import CheckReport
from diptych.tasks.progress import progress_of
from diptych.tasks.runs import KEYS, cache_folder


@spelled()
def check(
    data: object, *, names: str | os.PathLike[str] | Sequence[str] | None = None, workers: int = 2
) -> CheckReport:
    """Examine a data set before a run: empty classes, missing splits, broken photos, names, duplicates, photos that
    look the same.

    Every photo is decoded once. No model is loaded.

    Args:
        data: a folder, a table, "demo:clothes", whatever ``open_data`` takes, or what it returned.
        names: class names that shall go with the classes, or a file of them; None: the folder names.
        workers: threads that decode, >= 1.

    Returns:
        The report: ``.ok`` says that nothing is an error, ``.findings`` has each finding with its remedy, errors first.
        It prints as a list, and ``.to_pandas()`` has a row for each file concerned. Files that cannot be opened as data
        are a finding too.

    Raises:
        UsageError: there is nothing of this name, or ``workers`` is out of its range.

    Example:
        >>> import diptych
        >>> report = diptych.check("demo:photos")
        >>> report.counts
        {'test': 7}
    """
    if workers < 1:
        raise UsageError(f"{{workers}} must be at least 1, got {workers}.")
    with FileKeys(cache_folder() / KEYS) as keys:
        opened = Path(data) if isinstance(data, os.PathLike) else data
        if not isinstance(opened, (str, Path, LabelledData)):
            opened = as_data(opened, keys)
        report = examine(opened, names=names, keys=keys, run=Run(workers=workers, progress=progress_of(None)))
    findings = tuple(replace(f, message=UsageError(f.message).spelled(spell)) for f in report.findings)
    return replace(report, findings=findings)
