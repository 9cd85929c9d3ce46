"""Images for systems that learn without labels: where they come from, and which of many are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diptych.core import Samples, Subset, UnreadableItem
from diptych.data.keys import FileKeys
from diptych.data.load import open_data

MOST = 2048
"""Images that a system is given, at most."""


@dataclass(frozen=True)
class Unlabelled:
    """Images that were given apart from the data set.

    Args:
        source: what ``open_data`` was given; stands in the results.
    """

    source: str
    items: Samples[Any]

    @classmethod
    def open(cls, source: str, keys: FileKeys | None = None) -> Unlabelled:
        """Open the images of a folder, a table or a demo set, of all its splits, without their labels.

        Raises:
            DataError, UsageError: see ``data.load.open_data``.
        """
        return cls(source, open_data(source, keys, need="photos").whole().items)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the content keys, in their own order: file names and folders do not count."""
        return hashlib.sha256(
            "".join(sorted(key_of(self.items, i) for i in range(len(self.items)))).encode()
        ).hexdigest()


def smallest(items: Samples[Any], without: Collection[str] = ()) -> Subset[Any]:
    """Return the ``MOST`` images with the smallest content keys, in that order, so that no label and no file name has a
    say; unreadable ones and those of the keys in ``without`` not.
    """
    keys = sorted((key, i) for i in range(len(items)) if (key := key_of(items, i)) and key not in without)
    return Subset(items, tuple(i for _, i in keys[:MOST]))


def key_of(samples: Samples[Any], index: int) -> str:
    """Return the content key of an item; "" where it cannot be read."""
    try:
        return samples.key(index)
    except UnreadableItem:
        return ""
