"""The photo sets on which the embedded backbones are judged: looked at, never trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from diptych.core import Column, Table
from diptych.data.joined import Joined
from diptych.data.load import open_data

SETS: Mapping[str, str | None] = MappingProxyType(
    {"cifar10_small": "test", "caltech40": None, "clothing_small": "val", "pacs_small": "photo"}
)
"""Development set -> the split (or PACS domain) that is measured; None: all photos."""

LARGE: Mapping[str, str] = MappingProxyType(
    {"cifar10_large": "test", "caltech40_large": "test", "clothing_large": "test"}
)
"""The same with more photos; ``pacs_large`` has a test split in each of its domains."""


def photos(data: Path, name: str, part: str | None) -> tuple[Table[Any], tuple[str, ...]]:
    """Return the photos that are measured, and the names of the classes.

    Args:
        data: folder of the development sets.
        name: key of ``SETS`` or ``LARGE``, or "pacs_large".
        part: its value; of PACS, a domain.
    """
    if name == "pacs_large":
        data_set = open_data(data / name / (part or ""))
        return data_set.split("test"), data_set.classes
    data_set = open_data(data / name / (part or "")) if name == "pacs_small" else open_data(data / name)
    if part is not None and name != "pacs_small":
        return data_set.split(part), data_set.classes
    tables = list(data_set.splits.values())
    labels = np.concatenate([t.labels() for t in tables])
    return Table(Joined(tuple(t.items for t in tables)), {"label": Column("label", labels)}), data_set.classes
