"""Captioned photos whose captions are exchanged, and the streams of pairs that curators read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, Run, Samples, UnreadableItem, UsageError
from diptych.core.wording import none_readable
from diptych.data.keys import FileKeys
from diptych.data.load import open_data
from diptych.data.named_sets import located
from diptych.data.samples import openable

Numbers = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """The P pairs of one seed.

    Args:
        photos: (P,) number of the photo of each.
        captions: (P,) number of its caption among all of the pool.
        right: (P,) whether it is one of the photo's own.
    """

    photos: Numbers
    captions: Numbers
    right: Bools


@dataclass(frozen=True)
class CaptionPool:
    """Readable photos with captions; every caption is a pair with its photo, until a seed exchanges some.

    Args:
        photos: N images.
        captions_of: captions of each, at least one.
        wrong: share of the P pairs whose captions are exchanged.
        keep: share of them that a curator is to keep.
        failed: photos that cannot be read.

    Raises:
        UsageError: a share outside (0, 1).
        DataError: too few pairs for the shares.
    """

    name: str
    photos: Samples[Any]
    captions_of: tuple[tuple[str, ...], ...]
    wrong: float = 0.3
    keep: float = 0.5
    failed: tuple[UnreadableItem, ...] = ()

    def __post_init__(self) -> None:
        check_shares(self.wrong, self.keep)
        least = math.ceil(round(2 / min(self.wrong, 1 - self.wrong, self.keep, 1 - self.keep), 9))
        if len(self.texts) < least:
            held = f"{len(self.texts)} captions of readable photos in {self.name}"
            raise DataError(
                f"{held} are too few for {{wrong}} {self.wrong:g} and {{keep}} {self.keep:g}: give at least {least}."
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """P captions, photo by photo."""
        return tuple(text for captions in self.captions_of for text in captions)

    @property
    def owners(self) -> Numbers:
        """(P,) number of the photo of each pair."""
        return np.repeat(np.arange(len(self.captions_of)), [len(captions) for captions in self.captions_of])

    def pairs(self, run: Run) -> Pairs:
        """Exchange captions by the seed: a share of the pairs, in a random order, hand them on by one.

        Raises:
            DataError: every pair still has a caption of its own photo.
        """
        texts, owners, order = self.texts, self.owners, np.arange(len(self.texts))
        moved = np.random.default_rng(run.integer("exchanged captions")).permutation(len(order))[
            : round(self.wrong * len(order))
        ]
        order[moved] = order[np.roll(moved, 1)]
        right = np.array(
            [texts[k] in self.captions_of[i] for i, k in zip(owners.tolist(), order.tolist(), strict=True)]
        )
        if right.all():
            raise DataError(
                f"Exchanging captions of {self.name} makes no pair wrong: give photos that are described differently."
            )
        return Pairs(owners, order, right)


def check_shares(wrong: float, keep: float) -> None:
    """Raise UsageError where a share lies outside (0, 1)."""
    for option, share in (("{wrong}", wrong), ("{keep}", keep)):
        if not 0 < share < 1:
            raise UsageError(f"{option} takes a share of the pairs in (0, 1), such as 0.3, not {share:g}.")


def caption_pool(path: str, columns: str, wrong: float, keep: float, keys: FileKeys | None = None) -> CaptionPool:
    """Open a table of captioned photos, all splits of it.

    Raises:
        UsageError: there is no such table, or a share lies outside (0, 1).
        DataError: a photo has no caption, none can be read, or the pairs are too few.
    """
    check_shares(wrong, keep)  # before every photo is opened
    table = open_data(path, keys, need="captions", text=columns).whole()
    items, captions = table.items, table.columns["captions"].values
    photos, failed = openable(items)
    if failed and not len(photos):
        raise DataError(none_readable(len(items), "photos", failed, f" of {path}"))
    return CaptionPool(
        located(path).stem, photos, tuple(tuple(captions[i]) for i in photos.indices), wrong, keep, tuple(failed)
    )


@dataclass(frozen=True)
class Captions:
    """Captions, or photos with captions, as a stream."""

    texts: tuple[Any, ...]
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return iter([*enumerate(self.texts)][self.start :])

    def seek(self, position: int) -> Captions:
        """Return the stream from a position on."""
        return replace(self, start=position)


@dataclass(frozen=True)
class PhotoPair:
    """A photo and a caption, as a stream gives them.

    Args:
        opened: number -> photo.
    """

    opened: Callable[[int], Any]
    photo: int
    caption: str

    def image(self) -> Any:
        """Return the photo."""
        return self.opened(self.photo)

    def text(self) -> str:
        """Return the caption."""
        return self.caption
