"""Curators on captioned photos, some of whose captions were exchanged: the share of right pairs among those that are
kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.curate import Curator
from diptych.core.data import Samples
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.keys import FileKeys
from diptych.data.load import open_data
from diptych.data.metaclip_entries import WORDNET, entries
from diptych.data.named_sets import located
from diptych.evaluation.arms import Arm, Floats, Measured, Statistic, over_seeds
from diptych.methods.curate.clip_score import CLIPScoreFilter
from diptych.methods.curate.metaclip import MetaCLIP, entry_probabilities, keep_probabilities
from diptych.metrics.interval import Interval, resample, two_sided
from diptych.nn.text.substrings import Matcher
from diptych.tasks.detect import openable

RANDOM = "random"
Numbers = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class CaptionPool:
    """Readable photos with captions; every caption is a pair with its photo, until a seed exchanges some.

    Args:
        name: of the data set.
        photos: N images.
        said: captions of each, at least one.
        wrong: share of the P pairs whose captions are exchanged.
        keep: share of them that a curator is to keep.
        failed: photos that cannot be read.

    Raises:
        UsageError: a share outside (0, 1).
        DataError: too few pairs for the shares.
    """

    name: str
    photos: Samples[Any]
    said: tuple[tuple[str, ...], ...]
    wrong: float = 0.3
    keep: float = 0.5
    failed: tuple[UnreadableItem, ...] = ()

    def __post_init__(self) -> None:
        check_shares(self.wrong, self.keep)
        least = math.ceil(round(2 / min(self.wrong, 1 - self.wrong, self.keep, 1 - self.keep), 9))
        if len(self.texts) < least:
            held = f"{len(self.texts)} captions of readable photos in {self.name}"
            raise DataError(
                f"{held} are too few for --wrong {self.wrong:g} and --keep {self.keep:g}: give at least {least}."
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """P captions, photo by photo."""
        return tuple(text for own in self.said for text in own)

    @property
    def owners(self) -> Numbers:
        """(P,) number of the photo of each pair."""
        return np.repeat(np.arange(len(self.said)), [len(own) for own in self.said])

    def exchange(self, run: Run) -> tuple[Numbers, Bools]:
        """Exchange captions by the seed: a share of the pairs, in a random order, hand them on by one.

        Returns (P,) number of the caption that each pair now has, and whether it is one of the photo's own; raises
        DataError where all are.
        """
        texts, owners, order = self.texts, self.owners, np.arange(len(self.texts))
        moved = np.random.default_rng(run.integer("exchanged captions")).permutation(len(order))[
            : round(self.wrong * len(order))
        ]
        order[moved] = order[np.roll(moved, 1)]
        right = np.array([texts[k] in self.said[i] for i, k in zip(owners.tolist(), order.tolist(), strict=True)])
        if right.all():
            raise DataError(
                f"Exchanging captions of {self.name} makes no pair wrong: give photos that are described differently."
            )
        return order, right


def check_shares(wrong: float, keep: float) -> None:
    """Raise UsageError where a share lies outside (0, 1)."""
    for option, share in (("--wrong", wrong), ("--keep", keep)):
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
    items, said = table.items, table.columns["captions"].values
    photos, failed = openable(items)
    if failed and not len(photos):
        raise DataError(f"None of the {len(items)} photos of {path} can be read; the first: {failed[0]}.")
    return CaptionPool(
        located(path).stem, photos, tuple(tuple(said[i]) for i in photos.indices), wrong, keep, tuple(failed)
    )


def precision(values: Floats, seed: int) -> Interval:
    """Return the share of kept pairs that are right, over all seeds, with its two-sided 95 % interval.

    It holds the truth in 94 to 95 % of runs of one seed from 20 photos on; in 97 to 99 % of runs of several.

    Args:
        values: (R, N, 2) pairs that are kept, and those of them that are right, of R seeds and N photos.
        seed: of the resampling.
    """
    return two_sided(_ratio(values), resample(values, _precision, seed))


def precision_gain(first: Floats, second: Floats, seed: int) -> Interval:
    """Return the gain in precision of ``first`` over ``second``, paired by seed and photo, as ``precision`` does."""
    return two_sided(_ratio(first) - _ratio(second), resample(first, _precision, seed, over=second))


PRECISION = Statistic(precision, precision_gain, None)
"""Kept and right pairs are added up over photos and seeds, and divided once; all pairs of a photo are resampled
together.
"""


@dataclass
class CurateBench:
    """How curators are measured: each seed exchanges other captions. Gains are over as many pairs at random.

    Beside the precision stand "kept", a share of the pairs; "balance", see ``balance``; and "t" of metaclip.

    Args:
        pool: photos with captions.
        backbone: of curators that look at photos.
        run: device and cache.
        seeds: of exchanges and draws.
        metadata: entries of metaclip and of the balance; see ``data.metadata.entries``.

    Raises:
        MissingExtra: ahocorasick-rs is not installed.
        UsageError: there is no such metadata file.
        DataError: it holds no entries, or the captions name none of them.
    """

    pool: CaptionPool
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    metadata: str = WORDNET
    metric: str = "precision"
    statistic: Statistic = PRECISION
    always: tuple[Arm, ...] = (Arm(RANDOM),)
    rows: Numbers = field(init=False)
    found: Numbers = field(init=False)

    def __post_init__(self) -> None:
        self.texts, self.owners = self.pool.texts, self.pool.owners
        self.rows, self.found = Matcher(entries(self.metadata)).match(
            self.texts
        )  # an exchange moves captions, and changes none
        if not len(self.found):
            raise DataError(
                f"The captions of {self.pool.name} name no entry of {self.metadata}: give --metadata that fit them."
            )

    @property
    def failed(self) -> tuple[UnreadableItem, ...]:
        """Photos that cannot be read."""
        return self.pool.failed

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, sizes and shares."""
        sizes = {"dataset": self.pool.name, "items": len(self.texts), "photos": len(self.pool.photos)}
        return {
            **sizes,
            "entries_met": len(np.unique(self.found)),
            "wrong": self.pool.wrong,
            "keep": self.pool.keep,
            "metadata": self.metadata,
        }

    def measure(self, arm: Arm) -> Measured:
        """Plan and apply on the pool of every seed, and count by photo what is kept and right."""
        system = None if arm.system == RANDOM else self._curator(arm.system, arm.variant)
        more = {"t": system.t} if isinstance(system, MetaCLIP) and math.isfinite(system.t) else {}

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            order, right = self.pool.exchange(run)
            chosen = self._chosen(run)
            keep = self._random(chosen) if system is None else self._kept(system, order, run)
            if not keep.any():
                raise DataError(
                    f"{arm.system} kept none of the {len(keep)} pairs: its share or threshold leaves nothing "
                    f"to measure."
                )
            counts = [np.bincount(self.owners, which, len(self.pool.photos)) for which in (keep, keep & right)]
            return np.stack(counts, axis=1), {
                "kept": float(keep.mean()),
                "balance": self.balance(order[keep], order[chosen]),
                **more,
            }

        return over_seeds(once, self.run, self.seeds, draws=True)

    def balance(self, kept: Numbers, chosen: Numbers) -> float:
        """Return the effective number of entries in kept captions, divided by that in as many captions at random.

            exp( - sum over the entries e of q_e log q_e ),  q_e: share of e among all entries that the captions name

        That many entries, each named equally often, would be as even. More captions name more entries, hence the
        division.

        Args:
            kept: (K,) numbers of captions.
            chosen: (P,) all of them in a random order.
        """
        return self._effective(kept) / self._effective(chosen[: len(kept)])

    def _effective(self, numbers: Numbers) -> float:
        held = np.isin(self.rows, numbers)
        counts = np.unique(self.found[held], return_counts=True)[1]
        shares = counts / counts.sum()
        return float(np.exp(-(shares * np.log(shares)).sum()))

    def _chosen(self, run: Run) -> Numbers:
        return np.random.default_rng(run.integer("random pairs")).permutation(len(self.texts))

    def _random(self, chosen: Numbers) -> Bools:
        keep = np.zeros(len(chosen), dtype=bool)
        keep[chosen[: round(self.pool.keep * len(chosen))]] = True
        return keep

    def _kept(self, system: Curator, order: Numbers, run: Run) -> Bools:
        opened = lru_cache(maxsize=1)(
            self.pool.photos.__getitem__
        )  # the pairs of a photo follow each other, and decoding takes longest
        said = zip(self.owners.tolist(), order.tolist(), strict=True)
        pairs = Captions(tuple(PhotoPair(opened, i, self.texts[k]) for i, k in said))
        kit = Kit({"main": self.backbone})
        return np.array([v.keep for v in system.apply(kit, system.plan(kit, pairs, run), pairs, run)])

    def _curator(self, slug: str, variant: str) -> Curator:
        """Return a curator that keeps about the share asked for, where its variant does not say what it keeps."""
        system = catalog.find(slug, Curator)
        given: dict[str, Any] = {}
        if issubclass(system, MetaCLIP):
            given = {"metadata": self.metadata, "t": threshold(self.rows, self.found, len(self.texts), self.pool.keep)}
        elif issubclass(system, CLIPScoreFilter):
            given = {"share": self.pool.keep}
        return system(**{**given, **system.card.variants[variant]})


@dataclass(frozen=True)
class Captions:
    """Captions, or photos with captions, as a stream.

    Args:
        texts: in order.
        start: first position.
    """

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
        photo: its number.
        said: the caption.
    """

    opened: Callable[[int], Any]
    photo: int
    said: str

    def image(self) -> Any:
        """Return the photo."""
        return self.opened(self.photo)

    def text(self) -> str:
        """Return the caption."""
        return self.said


def threshold(rows: Numbers, found: Numbers, texts: int, share: float) -> float:
    """Return the t, 1 or above, with which MetaCLIP can be expected to keep a share of the texts, or comes closest to
    it.

    Args:
        rows: texts of the pairs of text and entry that match.
        found: their entries.
        texts: number of texts.
        share: to be kept.
    """
    counts = np.bincount(found).astype(np.uint64)
    low, high = 0.0, math.log(counts.max())
    for _ in range(40):  # the share grows with t
        middle = (low + high) / 2
        kept = keep_probabilities(rows, found, entry_probabilities(counts, math.exp(middle)), texts).mean()
        low, high = (middle, high) if kept < share else (low, middle)
    return math.exp(low)


def _ratio(values: Floats) -> float:
    kept, right = values.sum((0, 1))
    return float(right / kept)


def _precision(values: Floats, seeds: Floats, photos: Floats) -> Floats:
    """Return the precision of each resample; NaN where it holds no kept pair."""
    kept, right = (np.einsum("br,br->b", photos @ values[:, :, k].T, seeds) for k in range(2))
    shares: Floats = np.divide(right, kept, out=np.full(len(kept), np.nan), where=kept > 0)
    return shares
