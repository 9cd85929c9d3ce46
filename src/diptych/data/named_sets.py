"""Where data sets lie: a path, a name in the folder of data sets, or a demo that ships with the package."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from diptych.core.errors import NotAvailable, UsageError

DEMOS = ("photos", "clothes")


def located(spec: str | os.PathLike[str]) -> Path:
    """Return the path of a data set: the one given, that of the file or folder so named in the folder of DIPTYCH_DATA,
    or that of "demo:photos" or "demo:clothes".

    Absolute paths and those that begin with a dot are paths only. Where nothing is there the path comes back as it is:
    who opens it says what is missing.

    Raises:
        UsageError: it is here and in DIPTYCH_DATA, as where results were written to a folder of the data set's name; or
            there is no such demo.
    """
    if os.fspath(spec).startswith("demo:"):
        return demo_folder(os.fspath(spec).removeprefix("demo:"))
    path, root = Path(spec), os.environ.get("DIPTYCH_DATA", "")
    there = Path(root) / path
    if not root or path.is_absolute() or os.fspath(spec).startswith(".") or not there.exists():
        return path
    if path.exists() and not there.samefile(path):
        raise UsageError(
            f"{spec} is a folder here and one in DIPTYCH_DATA: write ./{spec} for the first, or {there} for the other."
        )
    return there


def demo_folder(name: str) -> Path:
    """Return the folder of a demo: "photos" or "clothes".

    Raises:
        UsageError: there is no such demo.
    """
    if name not in DEMOS:
        raise UsageError(f"There is no demo {name!r}: choose {' or '.join(f'demo:{d}' for d in DEMOS)}.")
    return Path(str(files("diptych"))) / "assets" / name


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
