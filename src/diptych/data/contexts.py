"""Context attributes of photos: factors such as the background, their values, and the phrasings of each, as JSON with
provenance.

A file is an object with "schema": 1 and "factors": {factor: {value: [phrasing, ...]}}; an empty phrasing leaves the
value unspoken. Every other key ("writer", "date", "licence", ...) is for readers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path

from diptych.core.errors import DataError, UsageError
from diptych.data.textfiles import read_json

LONGEST = 200
"""Characters a phrasing, at most."""
MOST = 10_000
"""Composite contexts, at most: each is a sentence for every class."""


@dataclass(frozen=True)
class Composite:
    """One value of each chosen factor.

    Args:
        values: one a factor, in the order of the factors.
        texts: every combination of their phrasings, joined by ", "; "" leaves all unspoken.
    """

    values: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Contexts:
    """Factors and how their values are said.

    Args:
        source: name of the file.
        factors: factor -> value -> phrasings, at least one each.
    """

    source: str
    factors: Mapping[str, Mapping[str, tuple[str, ...]]]

    def composites(self, chosen: Sequence[str]) -> tuple[Composite, ...]:
        """Return the Cartesian product of the values of some factors.

        Raises:
            UsageError: an unknown or doubled factor, none at all, or more than ``MOST`` composites.
        """
        unknown = [name for name in chosen if name not in self.factors]
        if unknown or not chosen or len(set(chosen)) < len(chosen):
            raise UsageError(
                f"{', '.join(map(repr, chosen)) or 'No factor'}: choose different ones among "
                f"{', '.join(self.factors)} of {self.source}."
            )
        found: list[Composite] = []
        for values in product(*(self.factors[name] for name in chosen)):
            phrasings = product(*(self.factors[name][value] for name, value in zip(chosen, values, strict=True)))
            found.append(Composite(values, tuple(dict.fromkeys(", ".join(filter(None, said)) for said in phrasings))))
            if len(found) > MOST:
                raise UsageError(f"{', '.join(chosen)} make more than {MOST} contexts: choose fewer factors.")
        return tuple(found)


def read_contexts(source: str | os.PathLike[str]) -> Contexts:
    """Read context attributes.

    Args:
        source: name of a table that ships ("general"), or a JSON file.

    Raises:
        UsageError: there is no such file, or it has another schema.
        DataError: the file is no table of context attributes.
    """
    folder = Path(str(files("diptych"))) / "assets" / "contexts"
    shipped = {path.stem: path for path in folder.glob("*.json")}
    path = shipped.get(str(source), Path(source))
    value = read_json(path, "context attributes")
    if not isinstance(value, dict) or not isinstance(value.get("factors"), dict) or not value["factors"]:
        raise DataError(f"{path} must hold a JSON object with 'factors': factor to value to a list of phrasings.")
    if value.get("schema") != 1:
        raise UsageError(
            f"{path} has schema {value.get('schema')}, and this version reads 1: use the version that wrote it."
        )
    factors = {}
    for factor, held in value["factors"].items():
        if not isinstance(held, dict) or not held or not all(isinstance(said, list) and said for said in held.values()):
            raise DataError(
                f"{path}: factor {factor!r} must be an object from value to a list of at least one phrasing."
            )
        if not all(isinstance(text, str) and len(text) <= LONGEST for said in held.values() for text in said):
            raise DataError(f"{path}: every phrasing of {factor!r} must be a string of at most {LONGEST} characters.")
        factors[factor] = {name: tuple(text.strip() for text in said) for name, said in held.items()}
    return Contexts(str(source), factors)
