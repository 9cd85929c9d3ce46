"""Pictures that lie as bytes inside something larger: a tar, a Parquet file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

from PIL import Image

from diptych.data.images import decode_image


class EncodedImages(ABC):
    """Samples whose key is the SHA-256 of the picture's bytes: the same key as of a file that holds these bytes."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> bytes:
        """Return the bytes of a picture; raises UnreadableItem where they cannot be had."""

    @abstractmethod
    def name(self, index: int, /) -> str:
        """Return where a picture lies."""

    def __getitem__(self, index: int, /) -> Image.Image:
        return decode_image(self.read(index), self.name(index))

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the picture's bytes."""
        return hashlib.sha256(self.read(index)).hexdigest()
