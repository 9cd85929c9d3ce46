"""Pictures stored as bytes inside a larger file, such as a tar or a Parquet file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

from PIL import Image

from diptych.data.images import decode_image


class EncodedImages(ABC):
    """Samples whose key is the SHA-256 of the picture's bytes, the same as for a file of these bytes."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> bytes:
        """Return the bytes of a picture.

        Raises:
            UnreadableItem: they cannot be read.
        """

    @abstractmethod
    def name(self, index: int, /) -> str:
        """Return the path of the file and the position of a picture in it."""

    def __getitem__(self, index: int, /) -> Image.Image:
        return decode_image(self.read(index), self.name(index))

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the picture's bytes."""
        return hashlib.sha256(self.read(index)).hexdigest()
