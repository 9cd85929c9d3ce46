"""Kinds of arguments: how each face writes their values, and what a verb gets of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core import UsageError


@dataclass(frozen=True)
class Kind:
    """How the values of an argument are written. Every face hands over what it was given, and ``read`` makes one value
    of it, so that ``"a, b"``, ``["a", "b"]`` and a JSON list mean the same.

    Args:
        command: type of the flag for typer; None: that of the field.
        http: type in the JSON body; None: that of the field, of a plain argument, and otherwise requests have none.
        read: makes the value of the verb.
        typed: comes before it on the command line alone, where a word may name a file.
        slugs: whether it names systems of the verb, which a shell completes.
    """

    command: Any = None
    http: Any = None
    read: Callable[[Any], Any] = lambda value: value
    typed: Callable[[Any], Any] = lambda value: value
    slugs: bool = False

    def on(self, face: str) -> bool:
        """Return whether arguments of this kind can stand on a face: a request names no file of the server."""
        return face != "http" or self.http is not None or self is PLAIN


def words(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the parts of "a, b, c", or of lines, or of a sequence of texts, trimmed; None is ()."""
    parts = value.replace("\n", ",").split(",") if isinstance(value, str) else (value or ())
    return tuple(part.strip() for part in parts if part.strip())


def numbers(value: str | Sequence[int] | None) -> tuple[int, ...]:
    """Return the whole numbers of "0, 5, 255", or of a sequence.

    Raises:
        UsageError: a part is no whole number.
    """
    parts = words(value) if isinstance(value, str) else tuple(map(str, value or ()))
    if strange := [p for p in parts if not p.isdecimal()]:
        raise UsageError(f"Whole numbers with commas between are needed, such as 0, 255, not {strange[0]!r}.")
    return tuple(map(int, parts))


def shares(value: str | Sequence[float] | None) -> tuple[float, ...]:
    """Return the numbers of "0.3, 0.7", or of a sequence.

    Raises:
        UsageError: a part is no number.
    """
    try:
        return tuple(map(float, words(value) if isinstance(value, str) else value or ()))
    except ValueError:
        raise UsageError(f"Numbers with commas between are needed, such as 0.3,0.7, not {value!r}.") from None


def _settings(value: Mapping[str, Any] | Iterable[str] | None) -> Mapping[str, Any]:
    if value is None or isinstance(value, Mapping):
        return value or {}
    pairs = [("published=true" if text.strip() == "published" else text).partition("=") for text in value]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise UsageError(f"{{settings}} takes NAME=VALUE, such as epochs=100, not {wrong[0]!r}.")
    return {name.strip(): text.strip() for name, _, text in pairs}


def _texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _one_file(value: Any) -> Any:
    """Return the name of a file of templates where a list holds nothing else."""
    return value[0] if isinstance(value, list) and len(value) == 1 and "{" not in str(value[0]) else value


def _folder(value: str | os.PathLike[str] | None) -> Path | None:
    return None if value is None else Path(value).expanduser()


def _text_or_file(value: Path | None) -> str | Path | None:
    """Return words that name no file as the text that they are; whatever looks like a path stays one."""
    if value is None or value.exists() or value.suffix or len(value.parts) != 1:
        return value
    return str(value)


def _file_or_texts(value: Any) -> Any:
    """Return the path of a text file that is written as a text."""
    return Path(value) if isinstance(value, str) and value.lower().endswith(".txt") else value


PLAIN = Kind()
WORDS = Kind(str | None, list[str], words)
SOME_WORDS = Kind(str | None, list[str] | None, lambda value: None if value is None else words(value))
"""Words, where none at all and no answer differ."""
NUMBERS = Kind(str | None, list[int], numbers)
SHARES = Kind(str | None, list[float], shares)
NAMES = Kind(str | None, list[str] | None)
TEMPLATES = Kind(list[str] | None, list[str] | None, lambda value: value or None, _one_file)
SENTENCES = Kind(str | None, list[str] | None, typed=_folder)
"""Sentences: on the command line a file of them."""
TEXT_FILE = Kind(Path | None, None, _file_or_texts, typed=_text_or_file)
"""Texts: a file with one per line, or one text; in Python also a list of them."""
POOL = Kind(str | None, None)
"""Texts by class: a pool that ships, or a file; in Python also the texts themselves; not over HTTP."""
TEXTS = Kind(list[str] | None, list[str], _texts)
"""Texts as they are: one, or several."""
MANY_TEXTS = Kind(list[str], list[str], _texts)
"""The texts that a verb is about: on the command line one or several."""
CELLS = Kind(list[str] | None, None)
"""One value per photo, in Python alone; None and none at all differ."""
PHOTOS = Kind(str | None, list[str])
"""Photos: a path or a folder; in Python whatever ``data.samples.as_samples`` takes; over HTTP data URIs or base64."""
MANY_PHOTOS = Kind(list[str], list[str], typed=lambda value: value or None)
"""The photos that a verb is about: on the command line one path or several, or none where a verb needs none."""
TABLE = Kind(str | None, None)
"""A data set with labels, captions or masks; not over HTTP."""
PICTURE = Kind(str | None, None)
"""One picture: a path; in Python also the picture itself."""
FOLDER = Kind(Path | None, None, _folder)
"""A folder that is read or written; not over HTTP."""
FITTED = Kind(Path | None, None)
"""A fitted classifier: its folder, or in Python what was fitted; not over HTTP."""
FILE = Kind(Path | None, None)
"""A file, or the path of one to write; not over HTTP."""
SYSTEM = Kind(str, str, slugs=True)
SETTINGS = Kind(list[str] | None, dict[str, Any] | None, _settings)
