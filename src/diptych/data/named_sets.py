"""Where data sets lie: a path, or a name in the folder of data sets."""

from __future__ import annotations

import os
from pathlib import Path

from diptych.core.errors import NotAvailable, UsageError


def located(spec: str | os.PathLike[str]) -> Path:
    """Return the path of a data set: the one given, or that of the file or folder so named in the folder of
    DIPTYCH_DATA.

    Absolute paths and those that begin with a dot are paths only. Where nothing is there the path comes back as it is:
    who opens it says what is missing.

    Raises:
        UsageError: it is here and in DIPTYCH_DATA, as where results were written to a folder of the data set's name.
    """
    path, root = Path(spec), os.environ.get("DIPTYCH_DATA", "")
    there = Path(root) / path
    if not root or path.is_absolute() or os.fspath(spec).startswith(".") or not there.exists():
        return path
    if path.exists() and not there.samefile(path):
        raise UsageError(
            f"{spec} is a folder here and one in DIPTYCH_DATA: write ./{spec} for the first, or {there} for the other."
        )
    return there


def captions_table(spec: str | os.PathLike[str]) -> Path:
    """Return the path of a table with captions as ``located`` finds it; of a folder that holds one, its
    captions.csv.
    """
    path = located(spec)
    return path / "captions.csv" if (path / "captions.csv").is_file() else path


def present(name: str, file: str = "") -> Path:
    """Return the path of a data set as ``located`` finds it, which must be there.

    Args:
        name: of the data set.
        file: that its folder must hold; "": anything will do.

    Raises:
        NotAvailable: it is not there.
        UsageError: as ``located``.
    """
    path = located(name)
    if not (path / file).exists():
        raise NotAvailable(
            f"The data set {name} is not here: set DIPTYCH_DATA to the folder that holds it, or give a path."
        )
    return path
