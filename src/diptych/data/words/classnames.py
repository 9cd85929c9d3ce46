"""Class names: plain words from folder names, and names from files."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diptych.core import ClassNames, DataError, UsageError
from diptych.core.data import listed_names, unquoted
from diptych.core.wording import first_of
from diptych.data.words.english import run_together
from diptych.data.words.textfiles import read_json, read_text

_INDEX = re.compile(r"^\d{2,}\.(?=[^\W\d])")
_LOOSE_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_FOLDER_COLUMNS = ("folder", "class", "label")
_NAME_COLUMNS = ("name", "class_name", "classname")
_VOID = re.compile(r"(void|ignored?|unlabell?ed|don't care|dontcare)\b", re.IGNORECASE)


def tidy(folder: str) -> str:
    """Return the name of a folder in plain words.

    "_" and "-" become spaces, CamelCase becomes words in lower case (all-capital words stay), a leading index such as
    "001." goes. Digits stay, and so does a hyphen beside a digit or a single letter. A byte that is no UTF-8 becomes
    "?": no tokenizer reads it.

    Example:
        >>> [tidy(n) for n in ("sea_horse", "SeaHorse", "TVMonitor", "t-shirt", "747-400", "001.Laysan_Albatross")]
        ['sea horse', 'sea horse', 'TV monitor', 't-shirt', '747-400', 'Laysan Albatross']
    """
    words, folder = [], folder.encode("utf-8", "replace").decode()
    for part in _LOOSE_HYPHEN.sub(" ", _INDEX.sub("", folder).replace("_", " ")).split():
        pieces = [p for p in _CAMEL.split(part) if p]
        words += [p if len(pieces) == 1 or (len(p) > 1 and p.isupper()) else p.lower() for p in pieces]
    return " ".join(words) or folder


def with_words(classes: ClassNames) -> ClassNames:
    """Return class names of which some list synonyms, "sofa|couch": the first is the name, and all are its words.

    Example:
        >>> with_words(ClassNames(("sofa|couch", "cat"))).words
        (('sofa', 'couch'), ('cat',))
    """
    words = tuple(tuple(w.strip() for w in name.split("|") if w.strip()) or (name,) for name in classes.names)
    if all(len(of_class) == 1 for of_class in words):
        return classes
    return replace(classes, names=tuple(of_class[0] for of_class in words), words=words)


def unreadable_names(names: Sequence[str]) -> str:
    """Return a warning where all class names are numbers, or some seem to be several words without spaces; "" else.

    Example:
        >>> unreadable_names(["beach", "harbor"]), unreadable_names(["0", "1"])[:37]
        ('', 'The class names are numbers (0, 1): a')
    """
    if names and all(n.isdecimal() for n in names):
        return (
            f"The class names are numbers ({', '.join(names[:3])}): a text encoder knows no such classes, so give "
            f"their names with {{names}}, or in a column class_name of the table."
        )
    if joined := run_together([tidy(name) for name in names]):
        those = f"{joined[0]!r} looks" if len(joined) == 1 else f"{first_of(map(repr, joined))} look"
        return (
            f"{those} like several words without spaces, which a text encoder hardly reads: give names with spaces "
            f"with {{names}}, or in a column class_name of the table."
        )
    return ""


def void_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that data sets give to pixels without a class.

    Example:
        >>> void_names(["void (ignore)", "sky", "Unlabeled", "avoid"])
        ('void (ignore)', 'Unlabeled')
    """
    return tuple(name for name in names if _VOID.match(name))


def read_names(source: str | os.PathLike[str] | Sequence[str], classes: Sequence[str] = ()) -> tuple[str, ...]:
    """Read class names.

    Args:
        source: the names themselves, or a UTF-8 file: .json with a list or {folder: name}, .csv with a column folder |
            class | label and a column name | class_name | classname, or with the latter alone, and any other file with
            one name per line, perhaps in quotation marks (empty lines are skipped), or one line "cat, dog".
        classes: K folder names, in the order of the result; () keeps the order of the source.

    Returns:
        K names.

    Raises:
        UsageError: no such file, another number of names than classes, or a class that the file does not name.
        DataError: the content does not fit the file ending.
    """
    names = _read(source)
    if isinstance(names, Mapping):
        missing = [c for c in classes if c not in names]
        if missing:
            raise UsageError(f"{source} has no name for {', '.join(missing)}: add it.")
        return tuple(names[c] for c in classes) if classes else tuple(names.values())
    if classes and len(names) != len(classes):
        raise UsageError(
            f"There are {len(names)} names for {len(classes)} classes: give one name per class, in the order "
            f"{', '.join(classes[:3])}, ..."
        )
    return tuple(names)


def _read(source: str | os.PathLike[str] | Sequence[str]) -> Sequence[str] | Mapping[str, str]:
    if not isinstance(source, (str, os.PathLike)):
        return list(source)
    kind = Path(source).suffix.lower()
    if kind == ".json":
        value = read_json(source, "class names")
        entries = list(value.values()) if isinstance(value, dict) else value
        if not isinstance(entries, list) or not all(isinstance(e, str) and e.strip() for e in entries):
            raise DataError(f"{source} must hold a JSON list of names, or an object from folder to name.")
        return {k: v.strip() for k, v in value.items()} if isinstance(value, dict) else [e.strip() for e in entries]
    text = read_text(source, "class names")
    if kind == ".csv":
        return _from_csv(text, source)
    lines = [line for line in text.splitlines() if line.strip()]
    return listed_names(lines[0]) if len(lines) == 1 else [_of_line(line) for line in lines]


def _of_line(line: str) -> str:
    """Return the name of a line, such as that of a list in code: without quotation marks and the comma behind them."""
    line = line.strip()
    name = unquoted(line.removesuffix(","))
    return unquoted(line) if name == line.removesuffix(",") else name


def _from_csv(text: str, source: str | os.PathLike[str]) -> Sequence[str] | Mapping[str, str]:
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        columns = reader.fieldnames or ()
        folder = next((c for c in _FOLDER_COLUMNS if c in columns), None)
        name = next((c for c in _NAME_COLUMNS if c in columns), None)
        if name is None or (folder is None and len(columns) > 1):
            raise DataError(
                f"{source} needs a column {' or '.join(_FOLDER_COLUMNS)} and a column {' or '.join(_NAME_COLUMNS)}, or "
                "the latter alone."
            )
        rows, named = list(reader), dict[str, str]()
        if long := next((number for number, row in enumerate(rows, 1) if None in row), None):
            raise DataError(f"Row {long} of {source} has more cells than the header: put names with commas in quotes.")
        if folder is None:
            return [row[name].strip() for row in rows if row[name].strip()]
        for number, row in enumerate(rows, 1):
            if not row[folder] or not row[name]:
                raise DataError(f"Row {number} of {source} lacks a {folder} or a {name}: fill it, or remove the row.")
            if named.setdefault(row[folder], row[name].strip()) != row[name].strip():
                raise DataError(f"{source} names {row[folder]!r} twice, differently: keep one of the rows.")
        return named
    except csv.Error as error:
        raise DataError(f"{source} is not valid CSV ({error}): save it again as UTF-8 CSV.") from None
