"""Size and difference hash of the pictures of a pool, which are decoded for them once.

They stand in the cache beside the vectors, in a space of their own, by the content of the picture: a plan over pictures
that were looked at before opens none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import Run, Samples, UnreadableItem
from diptych.core.run import silent
from diptych.features.pool_vectors import PoolVectors

BATCH = 1024
"""Pictures whose facts are stored together."""
_PIECES = 8
"""Numbers of 16 bits, which float32 holds exactly, of the two hashes of a picture."""


@dataclass(frozen=True)
class FactsEncoder:
    """A ``core.Encoder`` of pictures that measures instead of encoding: two hashes, width and height."""

    modality: str = "size and hash"
    dim: int = _PIECES + 2
    size: int | None = 9  # so that a picture is measured by the thread that decodes it, and let go
    fingerprint: str = "d1ff42e1"

    def inputs(self, items: Sequence[Image.Image], size: int | None = None) -> Any:
        """Return (B, 10) numbers of B pictures."""
        import torch

        return torch.tensor([[*_pieces(difference_hash(item)), *item.size] for item in items], dtype=torch.float32)

    def encode(self, x: Any, /) -> Any:
        """Return them."""
        return x


FACTS = FactsEncoder()


class Looked(NamedTuple):
    """Facts of the readable ones among N pictures.

    Args:
        kept: (M,) positions of these, ascending.
        hashes: (M, 2) of the picture and of its mirror image, see ``difference_hash``.
        sizes: (M, 2) width and height, in pixels.
        failed: one error for each of the others, in order.
    """

    kept: NDArray[np.int64]
    hashes: Bits
    sizes: NDArray[np.int64]
    failed: tuple[UnreadableItem, ...]


def picture_facts(pictures: Samples[Any], run: Run, vectors: PoolVectors, rows: Sequence[int] | None = None) -> Looked:
    """Return the facts of pictures from the cache, where they are there; nothing is counted or shown.

    Args:
        pictures: of a block.
        run: its folders.
        vectors: of the pool.
        rows: the N pictures that are looked at; None: all.
    """
    quiet = replace(
        run, engine=None, device="cpu", precision="fp32", decode="exact", batch=BATCH, progress=silent,
        tally=Counter[str](),
    )  # fmt: skip
    result = vectors.rows(FACTS, pictures, range(len(pictures)) if rows is None else rows, quiet)
    values = result.values[:, 0].astype(np.int64)
    pieces = values[:, :_PIECES].astype(np.uint64).reshape(-1, 2, _PIECES // 2)
    shifts = np.arange(0, 64, 16, dtype=np.uint64)
    hashes = np.bitwise_or.reduce(pieces << shifts, axis=2)
    return Looked(result.kept, hashes, values[:, _PIECES:], result.failed)


def _pieces(hashes: Sequence[int]) -> list[int]:
    """Return the 16-bit pieces of hashes of 64 bits, the low ones first."""
    return [whole >> shift & 0xFFFF for whole in hashes for shift in range(0, 64, 16)]


Bits = NDArray[np.uint64]
_POPULATION = np.array([bin(i).count("1") for i in range(256)], dtype=np.uint8)


def difference_hash(image: Image.Image) -> tuple[int, int]:
    """Return the hash of a picture and that of its mirror image, each in [0, 2^64).

    Pictures that were saved anew or resized differ in a few bits, unrelated ones in about half.

    Source: the dHash of Krawetz (2013).

    Example:
        >>> ramp = Image.fromarray(np.tile(np.arange(0, 180, 2, dtype=np.uint8), (80, 1)))
        >>> difference_hash(ramp) == (2**64 - 1, 0)
        True
    """
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return _packed(grey), _packed(grey[:, ::-1])


def bits_apart(a: Bits, b: Bits) -> NDArray[np.uint8]:
    """Return the (N, M) numbers of bits in which (N,) and (M,) hashes differ."""
    both = np.bitwise_xor(a[:, None], b[None, :])
    return np.asarray(_POPULATION[both.view(np.uint8)].reshape(*both.shape, 8).sum(axis=-1), dtype=np.uint8)


def _packed(grey: NDArray[Any]) -> int:
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")
