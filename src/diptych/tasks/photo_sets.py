"""The photo sets on which the embedded backbones are judged: looked at, never trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from diptych.core.data import Column, Table
from diptych.data.load import open_data

SETS: Mapping[str, str | None] = MappingProxyType(
    {"cifar10_small": "test", "caltech40": None, "clothing_small": "val", "pacs_small": "photo"}
)
"""Development set -> the split (or PACS domain) that is measured; None: all photos."""


def photos(data: Path, name: str, part: str | None) -> tuple[Table[Any], tuple[str, ...]]:
    """Return the photos that are measured, and the names of the classes.

    Args:
        data: folder of the development sets.
        name: key of ``SETS``.
        part: its value.
    """
    found = open_data(data / name / (part or "")) if name == "pacs_small" else open_data(data / name)
    if part is not None and name != "pacs_small":
        return found.split(part), found.classes
    tables = list(found.splits.values())
    items = [(t, i) for t in tables for i in range(len(t))]
    labels = np.concatenate([t.labels() for t in tables])
    return Table(_Joined(tuple(items)), {"label": Column("label", labels)}), found.classes


@dataclass(frozen=True)
class _Joined:
    items: tuple[tuple[Table[Any], int], ...]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        table, j = self.items[i]
        return table.items[j]

    def key(self, i: int) -> str:
        table, j = self.items[i]
        return table.items.key(j)

    def name(self, i: int) -> str:
        table, j = self.items[i]
        return table.items.name(j)
