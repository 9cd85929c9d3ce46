"""Context attributes of photos: factors such as the background, their values, and phrasings of the values.

A JSON file is an object with "schema": 1 and "factors": {factor: {value: [phrasing, ...]}}. An empty phrasing omits the
value from the sentence. All other keys ("writer", "date", "licence", ...) are not read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path

from diptych.core import DataError, UsageError
from diptych.data.words.textfiles import read_json

LONGEST = 200
"""Largest number of characters of a phrasing."""
MOST = 10_000
"""Largest number of composite contexts; each is a sentence for every class."""


@dataclass(frozen=True)
class Composite:
    """One value of each chosen factor.

    Args:
        values: one value of each factor, in the order of the factors.
        texts: every combination of their phrasings, joined by ", "; "" omits all values.
    """

    values: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Contexts:
    """Factors with their values and phrasings.

    Args:
        factors: factor -> value -> at least one phrasing.
    """

    source: str
    factors: Mapping[str, Mapping[str, tuple[str, ...]]]

    def composites(self, chosen: Sequence[str]) -> tuple[Composite, ...]:
        """Return the Cartesian product of the values of some factors.

        Raises:
            UsageError: an unknown or duplicate factor, no factor, or more than ``MOST`` composites.
        """
        unknown = [name for name in chosen if name not in self.factors]
        if unknown or not chosen or len(set(chosen)) < len(chosen):
            raise UsageError(
                f"{', '.join(map(repr, chosen)) or 'No factor'}: choose different ones among "
                f"{', '.join(self.factors)} of {self.source}."
            )
        result: list[Composite] = []
        for values in product(*(self.factors[name] for name in chosen)):
            phrasings = product(*(self.factors[name][value] for name, value in zip(chosen, values, strict=True)))
            result.append(
                Composite(values, tuple(dict.fromkeys(", ".join(filter(None, phrasing)) for phrasing in phrasings)))
            )
            if len(result) > MOST:
                raise UsageError(f"{', '.join(chosen)} make more than {MOST} contexts: choose fewer factors.")
        return tuple(result)


def read_contexts(source: str | os.PathLike[str]) -> Contexts:
    """Read context attributes.

    Args:
        source: name of a packaged table ("general", "waterbirds"), or a JSON file.

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
    for factor, phrasings_of in value["factors"].items():
        if (
            not isinstance(phrasings_of, dict)
            or not phrasings_of
            or not all(isinstance(phrasings, list) and phrasings for phrasings in phrasings_of.values())
        ):
            raise DataError(
                f"{path}: factor {factor!r} must be an object from value to a list of at least one phrasing."
            )
        if not all(
            isinstance(text, str) and len(text) <= LONGEST for phrasings in phrasings_of.values() for text in phrasings
        ):
            raise DataError(f"{path}: every phrasing of {factor!r} must be a string of at most {LONGEST} characters.")
        factors[factor] = {name: tuple(text.strip() for text in phrasings) for name, phrasings in phrasings_of.items()}
    return Contexts(str(source), factors)
