"""Pictures in memory, or paths of pictures, as samples; arrays and tensors as pictures; and many small values, such as
paths, in little memory. Loads no torch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import tempfile
import weakref
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import FileIO
from itertools import chain, islice
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import DataError, DiptychError, UnreadableItem
from diptych.data.images import open_image, upright_rgb
from diptych.data.keys import FileKeys

T = TypeVar("T")
FEW = 8192
"""Values up to which ``packed`` keeps them as they are."""
BYTES = 16 * 2**20
"""Bytes of compressed blocks in memory: those of about five million paths."""
_BLOCK = 128  # values


@dataclass(frozen=True)
class InMemory:
    """A list of pictures as samples.

    Args:
        items: N pictures, (H, W) or (H, W, 3) uint8 arrays, paths of pictures, or items of a stream with a method
            ``image``, and ``key`` where the bytes of a picture tell it without decoding.
        names: names for users; () uses paths, names of stream items, or positions.
        keys: content keys; () hashes the bytes of a file, as ``ImageFiles``, asks the item, or hashes mode, size and
            pixels.

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
        key_of = getattr(item, "key", None)
        if callable(key_of):
            return str(key_of())
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
    that a path takes about a tenth of its length. Blocks behind the first ``BYTES`` lie in a temporary file.

    Args:
        values: strings, numbers, or lists of these, which are read once.

    Raises:
        DiptychError: the folder for temporary files has no room.

    Example:
        >>> names = Packed(f"photos/{i:07d}.jpg" for i in range(1000))
        >>> names[123], len(names)
        ('photos/0000123.jpg', 1000)
    """

    def __init__(self, values: Iterable[T]) -> None:
        self._length = 0
        self._open: tuple[int, list[T]] = (-1, [])
        self._keep(self._compressed(iter(values)))

    def _compressed(self, values: Iterator[T]) -> Iterator[bytes]:
        while block := list(islice(values, _BLOCK)):
            self._length += len(block)
            yield zlib.compress(json.dumps(block).encode(), 1)

    def _keep(self, blocks: Iterable[bytes]) -> None:
        self._blocks, size = list[bytes](), 0
        self._file: FileIO | None = None
        self._ends = array("q", [0])  # of the blocks in the file
        for block in blocks:
            size += len(block)
            if size <= BYTES or not hasattr(os, "pread"):
                self._blocks.append(block)
                continue
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="diptych-packed-", buffering=0)  # noqa: SIM115
                    weakref.finalize(self, self._file.close)
                if self._file.write(block) < len(block):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise DiptychError(
                    f"{tempfile.gettempdir()} has no room for a list of names ({error.strerror or error}): free space "
                    f"there, or name a larger folder in TMPDIR."
                ) from None
            self._ends.append(self._ends[-1] + len(block))

    def __reduce__(self) -> tuple[Any, ...]:
        return _packed_again, (self._length, [self._content(number) for number in range(self._count)])

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
        for number in range(self._count):
            yield from self._block(number)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Packed)
            and (self._length, self._blocks) == (other._length, other._blocks)
            and all(self._content(n) == other._content(n) for n in range(len(self._blocks), self._count))
        )

    def __hash__(self) -> int:
        return hash((self._length, *self._blocks))

    @property
    def _count(self) -> int:
        return -(-self._length // _BLOCK)

    def _content(self, number: int) -> bytes:
        later = number - len(self._blocks)
        if later < 0 or self._file is None:
            return self._blocks[number]
        start, stop = self._ends[later : later + 2]
        return os.pread(self._file.fileno(), stop - start, start)  # no seek: forked processes share the file

    def _block(self, number: int) -> list[T]:
        values: list[T] = json.loads(zlib.decompress(self._content(number)))
        return values


def _packed_again(length: int, blocks: list[bytes]) -> Packed[Any]:
    again: Packed[Any] = Packed.__new__(Packed)
    again._length, again._open = length, (-1, [])
    again._keep(blocks)
    return again


def packed(values: Iterable[T]) -> Sequence[T]:
    """Return a few values as a tuple, and more of them as ``Packed``; what is one of these already stays."""
    if isinstance(values, (tuple, Packed)) and (isinstance(values, Packed) or len(values) <= FEW):
        return values
    rest = iter(values)
    few = tuple(islice(rest, FEW + 1))
    return few if len(few) <= FEW else Packed(chain(few, rest))
