"""Pictures in memory, or paths of pictures, as samples; arrays and tensors as pictures; and many small values, such as
paths, in little memory. Loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core.errors import DataError, UnreadableItem
from diptych.data.images import open_image, upright_rgb
from diptych.data.keys import FileKeys

T = TypeVar("T")
FEW = 8192
"""Values up to which ``packed`` keeps them as they are."""
_BLOCK = 128  # values


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


def is_array(x: object) -> bool:
    """Whether this is an array or a tensor; a tensor can only be one where torch is loaded."""
    torch = sys.modules.get("torch")
    return isinstance(x, np.ndarray) or (torch is not None and isinstance(x, torch.Tensor))


def pictures_of(x: Any, name: str) -> list[Any]:
    """Return the pictures of a PIL picture, an array or a tensor."""
    if isinstance(x, Image.Image):
        try:
            return [upright_rgb(x)]
        except (OSError, ValueError) as error:
            raise UnreadableItem(name, str(error)) from None
    shape = tuple(x.shape)
    if isinstance(x, np.ndarray):
        values, last = x, len(shape) == 2 or shape[-1:] in ((1,), (3,), (4,))
        wanted, other, remedy = "(H, W, 3) or (N, H, W, 3)", shape[-3:-2], "move the channels: np.moveaxis(x, -3, -1)"
    else:
        x = x.detach().cpu()
        values, last = (x.float() if x.is_floating_point() else x).numpy(), len(shape) in (3, 4) and shape[-3] in (1, 3)
        values = np.moveaxis(values, -3, -1) if last else values
        wanted, other, remedy = "(3, H, W) or (N, 3, H, W)", shape[-1:], "move the channels: x.movedim(-1, -3)"
    if not last or values.ndim not in (2, 3, 4):
        kind = "n array" if isinstance(x, np.ndarray) else " tensor"
        raise DataError(f"A{kind} of photos is {wanted}, not {shape}{f': {remedy}' if other in ((1,), (3,)) else ''}.")
    if 0 in values.shape[int(values.ndim == 4) :]:
        raise DataError(f"A picture of the size {shape} has no pixels: leave it out.")
    values = _bytes(values)
    return [_rgb(v) for v in values] if values.ndim == 4 else [_rgb(values)]


def _rgb(values: NDArray[np.uint8]) -> Image.Image:
    return upright_rgb(Image.fromarray(values[..., 0] if values.shape[2:] == (1,) else values))


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(
            f"Pixels are uint8, or float in [0, 1], not {values.dtype}: convert them, values of 0 to 255 with "
            f"np.asarray(x).astype('uint8')."
        )
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not 0 <= low <= high <= 1:
        remedy = "divide by 255" if low >= 0 and 2 < high <= 255 else "give photos before they are normalised"
        if values.ndim == 2:
            remedy += "; embeddings go to diptych.sklearn.EmbeddingClassifier"
        raise DataError(f"Float pixels lie in [0, 1], and these in [{low:.3g}, {high:.3g}]: {remedy}.")
    return np.round(values * 255).astype(np.uint8)


class Packed(Sequence[T]):
    """Values in compressed blocks, of which the one that was read last stays open. Neighbours have much in common, so
    that a path takes about a tenth of its length.

    Args:
        values: strings, numbers, or lists of these, which are read once.

    Example:
        >>> names = Packed(f"photos/{i:07d}.jpg" for i in range(1000))
        >>> names[123], len(names)
        ('photos/0000123.jpg', 1000)
    """

    def __init__(self, values: Iterable[T]) -> None:
        self._length, self._blocks = 0, list[bytes]()
        self._open: tuple[int, list[T]] = (-1, [])
        rest = iter(values)
        while block := list(islice(rest, _BLOCK)):
            self._blocks.append(zlib.compress(json.dumps(block).encode(), 1))
            self._length += len(block)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int, /) -> T: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice, /) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(self._length)[index]]
        number, row = divmod(range(self._length)[index], _BLOCK)
        opened = self._open  # one reference: other threads may replace it
        if opened[0] != number:
            opened = self._open = number, self._block(number)
        return opened[1][row]

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._blocks)):
            yield from self._block(number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed) and self._blocks == other._blocks

    def __hash__(self) -> int:
        return hash(tuple(self._blocks))

    def _block(self, number: int) -> list[T]:
        values: list[T] = json.loads(zlib.decompress(self._blocks[number]))
        return values


def packed(values: Iterable[T]) -> Sequence[T]:
    """Return a few values as a tuple, and more of them as ``Packed``; what is one of these already stays."""
    if isinstance(values, (tuple, Packed)) and (isinstance(values, Packed) or len(values) <= FEW):
        return values
    rest = iter(values)
    few = tuple(islice(rest, FEW + 1))
    return few if len(few) <= FEW else Packed(chain(few, rest))
