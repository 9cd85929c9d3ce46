"""Paths of data sets: a path, a name in the folder of data sets, or a packaged demo."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from diptych.core import DiptychError, NotAvailable, UsageError
from diptych.data.addresses import fetched
from diptych.data.files import address_of

DEMOS = ("photos", "clothes")
LONGEST = 255
"""Bytes of the longest name of a file or folder on common file systems."""


def located(spec: str | os.PathLike[str]) -> Path:
    """Return the path of a data set.

    - A name in the folder of DIPTYCH_DATA becomes the path there, unless it is absolute or begins with a dot.
    - "demo:photos" and "demo:clothes" become the paths of the packaged demos.
    - What an address of object storage names is copied to this machine, see ``data.addresses.fetched``.
    - Any other path stays as it is, whether it exists or not, but "~" is the home folder.

    Raises:
        UsageError: no file can have such a name; it is both here and in DIPTYCH_DATA, such as a folder of results
            with the name of the data set; there is no such demo; or there is nothing at the address.
        DataError: the storage does not answer.
    """
    if os.fspath(spec).startswith("demo:"):
        return demo_folder(os.fspath(spec).removeprefix("demo:"))
    address = address_of(spec)
    if address is not None:
        return fetched(address)
    if any(len(os.fsencode(part)) > LONGEST for part in Path(spec).parts):  # which no system call takes
        raise absent(spec)
    path, root = Path(spec).expanduser(), os.environ.get("DIPTYCH_DATA", "")
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
    """Return the path of a data set as ``located``, which must exist; its folder must have the file, if one is named.

    Raises:
        NotAvailable: it does not exist.
        UsageError: as ``located``.
    """
    path = located(name)
    if not (path / file).exists():
        raise _not_here(name)
    return path


def all_present(names: Iterable[str]) -> None:
    """Raise NotAvailable where a known data set is not here that a name is or is made of, as "halves:NAME" is."""
    known = _known()
    for part in (part for name in names for part in name.split(":")):
        if part in known:
            present(part)


def absent(spec: str | os.PathLike[str]) -> DiptychError:
    """Return the error of a missing path: NotAvailable for the name of a known data set, else UsageError."""
    if os.fspath(spec) in _known():
        return _not_here(spec)
    if os.fspath(spec).startswith(("http:/", "https:/")):
        there = re.sub(":/+", "://", os.fspath(spec), count=1)
        return UsageError(f"{there} is an address of the web, which is not fetched: download it, and name the file.")
    if os.fspath(spec).startswith("data:"):
        return UsageError(
            "An address that begins with data: is not read: in Python give its bytes, "
            "base64.b64decode(address.partition(',')[2]), else write them to a file."
        )
    if any(mark in os.fspath(spec) for mark in "*?"):
        return UsageError(
            f"There is no file {spec}: patterns are not expanded, so give the folder, or a list of files."
        )
    name = os.fspath(spec)
    shown = f"{name[:60]}... of {len(name):,} characters" if len(name) > 4 * LONGEST else name
    return UsageError(f"There is no file or folder {shown}: check the spelling, or try demo:photos or demo:clothes.")


def _not_here(name: str | os.PathLike[str]) -> NotAvailable:
    return NotAvailable(
        f"The data set {name} is not here: set DIPTYCH_DATA to the folder that holds it, or give a path."
    )


def _known() -> frozenset[str]:
    """Return the names of the data sets that proofs and boards know, from assets/data_sets.csv."""
    text = files("diptych").joinpath("assets", "data_sets.csv").read_text(encoding="utf-8")
    return frozenset(row["name"] for row in csv.DictReader(text.splitlines()))
