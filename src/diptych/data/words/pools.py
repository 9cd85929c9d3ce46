"""Text pools: descriptions of classes and of differences between two classes, as JSON with provenance.

A pool file is an object with "schema": 1 and one or both of

    "descriptions": {"writer": ..., "prompt": ..., "date": ..., "texts": {class: [text, ...]}}
    "pairs":        {"writer": ..., "prompt": ..., "date": ..., "texts": {"a | b": [{"texts": [of a, of b], ...}, ...]}}

All other keys ("name", "licence", "datasets", ...) are not read. A file without "schema" may be a "descriptions" object
or {class: [text, ...]}, the format of classification by description. In the ``TextPool`` the key "a | b" has the texts
of a that distinguish it from b, and "b | a" those of b.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

from diptych.core import ClassNames, DataError, Evidence, MissingEvidence, Text, TextPool, UsageError
from diptych.data.words.textfiles import read_json

VERSUS = " | "
LONGEST = 1000
"""Largest number of characters of a text, since encoders truncate longer ones."""


@dataclass(frozen=True)
class Pool:
    """A text pool and its source.

    Args:
        source: name of a packaged pool, or path of the file.
    """

    source: str
    texts: TextPool

    @cached_property
    def hash(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of keys and texts, written in results."""
        plain = {key: [text.value for text in texts] for key, texts in self.texts.texts.items()}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for results: source, hash, number of texts and writers."""
        every = [text for texts in self.texts.texts.values() for text in texts]
        return {
            "source": self.source,
            "hash": self.hash,
            "texts": len(every),
            "writers": sorted({t.writer for t in every}),
        }


def shipped() -> tuple[str, ...]:
    """Return the names of the packaged pools."""
    return tuple(sorted(path.stem for path in _folder().glob("*.json")))


def pool_of(dataset: str) -> Pool | None:
    """Return the packaged pool for a data set, by the name of the data set; None where there is none."""
    for name in shipped():
        if dataset in read_json(_folder() / f"{name}.json", "texts").get("datasets", ()):
            return read_pool(name)
    return None


def read_pool(source: str | os.PathLike[str]) -> Pool:
    """Read a pool.

    Args:
        source: name of a packaged pool (see ``shipped``), or a JSON file of at most 16 MiB.

    Raises:
        UsageError: there is no such file, or it has another schema.
        DataError: the file is not a pool; the message has the position.
    """
    path = _folder() / f"{source}.json" if str(source) in shipped() else Path(source)
    value = read_json(path, "texts")
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object from class name to a list of texts.")
    if "schema" not in value:
        value = {"schema": 1, "descriptions": value if isinstance(value.get("texts"), dict) else {"texts": value}}
    if value["schema"] != 1:
        raise UsageError(
            f"{path} has schema {value['schema']}, and this version reads 1: use the version that wrote it."
        )
    if not {"descriptions", "pairs"} & set(value):
        raise DataError(f"{path} has neither 'descriptions' nor 'pairs': add one of them.")
    texts: dict[str, tuple[Text, ...]] = {}
    for key, values, provenance in _descriptions(value, path):
        texts[key] = tuple(Text(_text(v, path, key), **provenance) for v in values)
    for key, values, provenance in _pairs(value, path):
        a, b = key.split(VERSUS)
        for side, owner in enumerate((f"{a}{VERSUS}{b}", f"{b}{VERSUS}{a}")):
            if owner in texts:
                raise DataError(f"{path} holds the pair {key!r} twice: keep one of them.")
            texts[owner] = tuple(Text(_text(pair[side], path, key), **provenance) for pair in values)
    return Pool(str(source), TextPool(texts))


def class_texts(evidence: Evidence[Any], classes: ClassNames) -> tuple[tuple[str, ...], ...]:
    """Return the texts of each class, by its name. A list may be empty.

    Raises:
        MissingEvidence: ``evidence.texts`` was not given, or lacks a class.
    """
    texts_of = _given(evidence)
    absent = [name for name in classes if name not in texts_of]
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        raise MissingEvidence(
            f"evidence.texts has no list for {', '.join(map(repr, absent[:5]))}{more}: add it (an empty list will "
            f"do), or rename."
        )
    return tuple(tuple(text.value for text in texts_of[name]) for name in classes)


def pair_texts(evidence: Evidence[Any], classes: ClassNames) -> dict[str, tuple[str, ...]]:
    """Return "a | b" -> the texts of a that distinguish it from b, for every ordered pair of classes in the pool.

    Raises:
        MissingEvidence: ``evidence.texts`` was not given, has no pair of these classes, or only one side of a pair.
    """
    texts_of = _given(evidence)
    result: dict[str, tuple[str, ...]] = {}
    for a, b in combinations(classes, 2):
        keys = [key for key in (f"{a}{VERSUS}{b}", f"{b}{VERSUS}{a}") if texts_of.get(key)]
        if len(keys) == 1:
            raise MissingEvidence(
                f"evidence.texts describes one side of {a!r} and {b!r} only: add the other side, or drop the pair."
            )
        result |= {key: tuple(text.value for text in texts_of[key]) for key in keys}
    if not result and len(classes) > 1:
        raise MissingEvidence(
            f"evidence.texts tells no two of these classes apart: add pairs such as {VERSUS.join(classes.names[:2])!r}."
        )
    return result


def _folder() -> Path:
    return Path(str(files("diptych"))) / "assets" / "pools"


def _given(evidence: Evidence[Any]) -> Mapping[str, tuple[Text, ...]]:
    if evidence.texts is None:
        raise MissingEvidence(
            "This system reads descriptions of the classes, and evidence.texts is missing: give a pool of them as "
            "{texts}."
        )
    return evidence.texts.texts


def _descriptions(value: Mapping[str, Any], path: Path) -> Iterator[tuple[str, list[Any], dict[str, str]]]:
    provenance, texts = _part(value, "descriptions", path)
    for key, entries in texts.items():
        if not key.strip() or VERSUS in key:
            raise DataError(f"{path}: {key!r} is no class name: it may not be empty or hold {VERSUS!r}.")
        if not isinstance(entries, list):
            raise DataError(f"{path}: the texts of {key!r} must be a list.")
        yield key, entries, provenance


def _pairs(value: Mapping[str, Any], path: Path) -> Iterator[tuple[str, list[Any], dict[str, str]]]:
    provenance, texts = _part(value, "pairs", path)
    for key, entries in texts.items():
        sides = key.split(VERSUS)
        if len(sides) != 2 or sides[0] == sides[1] or not all(side.strip() for side in sides):
            raise DataError(f"{path}: {key!r} is no pair: write two different class names as 'a{VERSUS}b'.")
        pairs = (
            [entry.get("texts") if isinstance(entry, dict) else None for entry in entries]
            if isinstance(entries, list)
            else [None]
        )
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise DataError(
                f"{path}: the pair {key!r} must be a list of objects with 'texts': [of the first, of the second]."
            )
        yield key, pairs, provenance


def _part(value: Mapping[str, Any], name: str, path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    part = value.get(name, {"texts": {}})
    if not isinstance(part, dict) or not isinstance(part.get("texts"), dict):
        raise DataError(f"{path}: {name!r} must be an object with 'texts'.")
    provenance = {field: part.get(field, "") for field in ("writer", "prompt", "date")}
    if not all(isinstance(text, str) for text in provenance.values()):
        raise DataError(f"{path}: writer, prompt and date of {name!r} must be strings.")
    return provenance, part["texts"]


def _text(value: object, path: Path, key: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise DataError(f"{path}: every text of {key!r} must be a string of 1 to {LONGEST} characters.")
    return value.strip()
