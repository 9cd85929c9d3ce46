"""What every search index has, in a folder or in a vector database: facts, a width, and vectors of that width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError, name_today
from diptych.search_index.rows import Modality
from diptych.search_index.where import Condition

Vectors = NDArray[np.float32]
CHUNK = 32 * 2**20
"""Bytes of vectors in memory at once."""


class Described(ABC):
    """An index that says what it was made with.

    Args:
        folder: where it lies, or its address.
        facts: backbone, width, precision.
        dim: width D of its vectors.
    """

    folder: Path | str
    facts: Mapping[str, Any]
    dim: int

    def describe(self, facts: dict[str, Any]) -> None:
        """Take the facts of the index over, with the name that its backbone has today."""
        if "backbone" in facts:
            facts["backbone"] = name_today(str(facts["backbone"]), str(facts.get("fingerprint")))
        self.facts, self.dim = facts, int(facts["dim"])

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""

    @abstractmethod
    def values(self, where: Sequence[Condition]) -> dict[str, dict[str, int]]:
        """Return fact -> value -> number of the entries that meet all conditions."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def expect(self, fingerprint: str, name: str) -> None:
        """Check the backbone, since vectors of two backbones are not comparable.

        Raises:
            UsageError: the index is of another backbone.
        """
        if fingerprint != self.facts["fingerprint"]:
            there = self.facts.get("backbone")
            if name == there:
                raise UsageError(
                    f"{self.folder} was indexed with other weights, {{precision}} or decode of {there} (requested:"
                    f" {self.facts.get('precision_asked', self.facts.get('precision'))}, {self.facts.get('decode')}): "
                    f"request the same, or index again in a new folder."
                )
            raise UsageError(
                f"{self.folder} was indexed with {there}, and this is {name or 'another backbone'}: name "
                f"{there} as the model, or index again in a new folder."
            )

    @property
    def chunk(self) -> int:
        """Number of vectors in memory at once."""
        return max(1, CHUNK // (4 * self.dim))

    def unit(
        self, vectors: Mapping[Modality, tuple[NDArray[np.int64], Vectors]]
    ) -> dict[Modality, tuple[NDArray[np.int64], Vectors]]:
        """Return vectors as they are stored, with length 1.

        Raises:
            DataError: sizes differ, or a vector is zero or not finite.
        """
        units: dict[Modality, tuple[NDArray[np.int64], Vectors]] = {}
        for modality, (positions, values) in vectors.items():
            if values.shape != (len(positions), self.dim):
                raise DataError(
                    f"The index {self.folder} takes ({len(positions)}, {self.dim}) vectors, not {values.shape}."
                )
            norms = np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
            if not np.isfinite(values).all() or not norms.all():
                raise DataError("A vector is zero or not finite: look for a broken backbone.")
            units[modality] = positions, (values / norms).astype(np.float32)
        return units

    def facets(self, where: Sequence[Condition] = (), most: int = 12) -> dict[str, dict[str, int]]:
        """Return fact -> value -> number of entries, the most frequent value first, for conditions such as "year=1990".

        Args:
            where: conditions; the values of a fact are counted without those on itself, so that another one of its
                values can be chosen.
            most: facts with more values than this, such as file names, are left out; so are those with one value.
        """
        counted = self.values(where)
        for column in {c.column for c in where}:
            counted[column] = self.values([c for c in where if c.column != column]).get(column, {})
        return {column: values for column, values in sorted(counted.items()) if 2 <= len(values) <= most}
