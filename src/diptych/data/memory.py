"""Pictures in memory, or paths of pictures, as samples."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from diptych.data.images import open_image
from diptych.data.keys import FileKeys


@dataclass(frozen=True)
class InMemory:
    """A list of pictures as samples.

    Args:
        items: N pictures, (H, W) or (H, W, 3) uint8 arrays, paths of pictures, or items of a stream with a method
            ``image``.
        names: names for users; () uses paths, names of stream items, or positions.
        keys: content keys; () hashes the bytes of a file, as ``ImageFiles``, or mode, size and pixels.

    Example:
        >>> photos = InMemory([Image.new("RGB", (4, 3)), np.zeros((3, 4, 3), np.uint8)])
        >>> len(photos), photos[1].size, photos.name(1), photos.key(0) == photos.key(1)
        (2, (4, 3), '1', True)
    """

    items: Sequence[Any] = field(repr=False)
    names: Sequence[str] = ()
    keys: Sequence[str] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int, /) -> Image.Image:
        item = self.items[index]
        if isinstance(item, (str, os.PathLike)):
            return open_image(item)
        if isinstance(item, np.ndarray):
            return Image.fromarray(item)
        return item if isinstance(item, Image.Image) else item.image()

    def key(self, index: int, /) -> str:
        """Return the content key.

        Raises:
            UnreadableItem: the picture cannot be read.
        """
        if self.keys:
            return self.keys[index]
        item = self.items[index]
        if isinstance(item, (str, os.PathLike)):
            return FileKeys().key(item)
        image = self[index]
        return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the name of the picture for users."""
        if self.names:
            return self.names[index]
        item = self.items[index]
        return os.fspath(item) if isinstance(item, (str, os.PathLike)) else str(getattr(item, "name", index))
