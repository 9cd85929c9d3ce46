"""Pools with planted faults, as known truth: copies of photos, degraded photos, faulty captions. Which curator finds
them?

Values are of photos (whether exactly one pair of a photo's group is kept, or whether the verdict on it is right), or of
captions (whether the verdict on it is right).
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from torch.nn.functional import normalize

from diptych.core import Backbone, Curator, Kit, Plan, Run, Texts, UnreadableItem
from diptych.data.load import open_data
from diptych.data.memory import InMemory
from diptych.data.named_sets import present
from diptych.data.sorted_runs import RunWriter
from diptych.data.words.near_texts import words_of
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.boards.caption_pool import Captions
from diptych.evaluation.datasets import few
from diptych.features.embed import embed
from diptych.features.pair_vectors import PairVectors
from diptych.methods.curate.caption_checks import CaptionChecks
from diptych.methods.curate.semdedup import SemDeDup
from diptych.methods.curate.vector_head import VectorHeadFilter
from diptych.nn.vector_head import fit_head
from proofs.trial import hash_of_words

IDENTICAL, AT_RANDOM, SHORTEST = "identical", "as many at random", "as many of the shortest"
WORDS, LAPLACIAN = "the backbone's words", "the variance of the Laplacian"
HASHES, MIRRORED = "hashes alone", "vectors alone, with mirror images"
IN_CELLS, HASHES_IN_CELLS = "in four cells", "hashes alone, in the same four cells"
OTHER_VECTORS, OTHER_HASHES = "vectors of other pictures", "hashes of other pictures"
PERMUTED = "permuted"
LIKE_LENGTH, LUCK = "its verdicts among captions of like length", "its rules, and as many duplicates at random"
SHUFFLED = "words in random order"
PER_CELL = 8800
"""Pairs of a cell on average in the paper: 440 million in 50,000 cells. A pool of the proof is smaller than that."""
CELLS, LIKE = 4, 20
"""Cells of k-means of a twin, of a few hundred pairs; captions of like length among which verdicts are permuted."""
COPIED, DEGRADED, LABELLED = 1000, 2000, 200
"""Photos of a pool with copies, and of one where half are degraded; of these, those that a head is fitted on."""
SIDE = 256
Bools = NDArray[np.bool_]
Value = Callable[[Run], Floats]


@dataclass(frozen=True)
class Pair:
    """A picture in memory with a text."""

    name: str
    picture: Image.Image | None = field(default=None, repr=False)
    said: str = "a photo"

    def image(self) -> Image.Image:
        """Return the picture."""
        assert self.picture is not None
        return self.picture

    def text(self) -> str:
        """Return the text."""
        return self.said


@dataclass
class PlantedBench:
    """Arms by name: each is a function of the run of a seed; the name of a spoiled system is that of its spoil."""

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    facts: Mapping[str, Any]
    arms: Mapping[str, Value]
    metric: str = "right"
    statistic: Statistic = MEANS
    failed: tuple[UnreadableItem, ...] = ()
    always: tuple[Arm, ...] = ()

    def measure(self, arm: Arm) -> Measured:
        """Measure an arm in every seed."""
        measured = self.arms[arm.spoil or arm.system]
        return over_seeds(lambda run: (measured(run), {}), self.run, self.seeds, draws=True)


def judged(curator: Curator, backbone: Backbone, pairs: Sequence[Pair], run: Run) -> Bools:
    """Return (P,) whether a curator keeps each pair."""
    plan = curator.plan(Kit({"main": backbone}), Captions(tuple(pairs)), run)
    return by_plan(curator, plan, backbone, pairs, run)


def by_plan(curator: Curator, plan: Plan, backbone: Backbone, pairs: Sequence[Pair], run: Run) -> Bools:
    """Return (P,) whether a curator keeps each pair by a plan that was made before."""
    verdicts = curator.apply(Kit({"main": backbone}), plan, Captions(tuple(pairs)), run)
    return np.array([verdict.keep for verdict in verdicts])


def saved_anew(image: Image.Image, quality: int) -> Image.Image:
    """Return a picture after it was saved as JPEG."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(io.BytesIO(content.getvalue())).convert("RGB")


def halved(image: Image.Image) -> Image.Image:
    """Return a picture of half the size."""
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def cropped(image: Image.Image) -> Image.Image:
    """Return a picture without 5 % on each side."""
    w, h = image.size
    return image.crop((round(0.05 * w), round(0.05 * h), round(0.95 * w), round(0.95 * h)))


COPIES: tuple[Callable[[Image.Image], Image.Image], ...] = (
    partial(saved_anew, quality=25),
    halved,
    cropped,
    ImageOps.mirror,
    lambda image: ImageOps.grayscale(image).convert("RGB"),
)


def copied(photos: Sequence[Image.Image], run: Run) -> tuple[list[Pair], NDArray[np.int64]]:
    """Return a pool where half of the photos have two changed copies, in random order, and (P,) photo of each pair."""
    rng = np.random.default_rng(run.integer("copies"))
    pairs = [(i, photo) for i, photo in enumerate(photos)]
    for i in rng.permutation(len(photos))[: len(photos) // 2].tolist():
        pairs += [(i, COPIES[k](photos[i])) for k in rng.permutation(len(COPIES))[:2].tolist()]
    pairs = [pairs[k] for k in rng.permutation(len(pairs)).tolist()]
    return [Pair(f"{run.seed}/{k}", image) for k, (_, image) in enumerate(pairs)], np.array([i for i, _ in pairs])


def exchanged(plan: PairVectors, part: str, run: Run) -> PairVectors:
    """Return a plan in which each picture has the vectors or hashes (``part``) of another, the rest of its own."""
    rows, changed = plan.rows.whole(), RunWriter(plan.rows.layout)
    order = np.random.default_rng(run.integer(part)).permutation(len(rows["id"]))
    column = "vector" if part == OTHER_VECTORS else "hash"
    changed.add({**rows, column: rows[column][order]})
    return replace(plan, rows=changed.finished(), _decided={})


def open_copies(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> PlantedBench:
    """Open photos, half of which have two changed copies. Value of a photo: exactly one of its group is kept.

    The system looks for copies inside cells of the paper's size, which hold the whole pool; what it is compared with
    looks in the whole pool too, so that cells are no reason of a gain. In the controls the vectors, or the hashes, are
    of other pictures: they would gain if it were enough to drop some pairs more than the other half of the rule does.
    """
    photos, facts = _photos(name, COPIED)
    cells = -(-2 * len(photos) // PER_CELL)
    either = SemDeDup(**SemDeDup.card.variants["either"], cells=cells)
    whole, parted = replace(either, cells=1), replace(either, cells=CELLS)
    planted: dict[int, tuple[list[Pair], NDArray[np.int64], PairVectors]] = {}

    def pool(run: Run) -> tuple[list[Pair], NDArray[np.int64], PairVectors]:
        """Return the pairs of a seed, the photo of each, and their vectors, which all arms with mirror images share."""
        if run.seed not in planted:
            pairs, groups = copied(photos, run)
            planted[run.seed] = pairs, groups, either.plan(Kit({"main": backbone}), Captions(tuple(pairs)), run)
        return planted[run.seed]

    def by(curator: SemDeDup, run: Run, part: str = "") -> Bools:
        pairs, _, plan = pool(run)
        return by_plan(curator, exchanged(plan, part, run) if part else plan, backbone, pairs, run)

    def value(keep: Callable[[Run], Bools], run: Run) -> Floats:
        _, groups, _ = pool(run)
        return np.asarray(np.bincount(groups, keep(run), len(photos)) == 1, dtype=np.float64)

    arms: dict[str, Callable[[Run], Bools]] = {
        "semdedup": partial(by, either),
        IN_CELLS: partial(by, parted),
        HASHES: partial(by, replace(whole, rule="hash")),
        HASHES_IN_CELLS: partial(by, replace(parted, rule="hash")),
        MIRRORED: partial(by, replace(whole, rule="vector")),
        OTHER_VECTORS: partial(by, whole, part=OTHER_VECTORS),
        OTHER_HASHES: partial(by, whole, part=OTHER_HASHES),
        IDENTICAL: lambda run: _distinct(pool(run)[0], run),
        AT_RANDOM: lambda run: np.random.default_rng(run.integer("at random")).permutation(by(either, run)),
    }
    facts |= {"cells": cells}
    return PlantedBench(backbone, run, seeds, facts, {key: partial(value, arm) for key, arm in arms.items()})


def degraded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture that is blurred, saved with few bits, noisy, or enlarged from a small one."""
    kind, strength = int(rng.integers(4)), float(rng.random())
    if kind == 0:
        return image.filter(ImageFilter.GaussianBlur(2 + 2 * strength))
    if kind == 1:
        return saved_anew(image, int(4 + 6 * strength))
    if kind == 2:
        noise = rng.normal(0, 25 + 15 * strength, (image.height, image.width, 3))
        return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    size = (round(40 + 24 * strength), round((40 + 24 * strength) * image.height / image.width))
    return image.resize(size, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)


def open_degraded(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> PlantedBench:
    """Open photos, half of which are degraded; ``LABELLED`` of them are labelled, and the values are of the others."""
    photos, facts = _photos(name, DEGRADED)

    def pool(run: Run) -> tuple[list[Image.Image], Bools]:
        rng = np.random.default_rng(run.integer("degraded"))
        bad = np.isin(np.arange(len(photos)), rng.permutation(len(photos))[: len(photos) // 2])
        order = rng.permutation(len(photos)).tolist()
        changed = [degraded(photo, rng) if is_bad else photo for photo, is_bad in zip(photos, bad, strict=True)]
        return [changed[k] for k in order], ~bad[order]

    def by_head(run: Run, permuted: bool = False) -> Floats:
        pictures, good = pool(run)
        z = embed(backbone.image, InMemory(pictures[:LABELLED]), run).numpy()
        marks = good[:LABELLED]
        if permuted:
            marks = np.random.default_rng(run.integer("permuted labels")).permutation(marks)
        fingerprint = backbone.fingerprint
        head = fit_head(z, marks, z, marks, backbone=fingerprint)  # what is checked does not change what is fitted
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "head.safetensors"
            head.save(path)
            pairs = [Pair(str(i), picture) for i, picture in enumerate(pictures[LABELLED:])]
            keep = judged(VectorHeadFilter(head=str(path), threshold=0.5), backbone, pairs, run)
        return np.asarray(keep == good[LABELLED:], dtype=np.float64)

    def by_words(run: Run) -> Floats:
        pictures, good = pool(run)
        words = ("a sharp, clear photo of high quality", "a blurry, noisy, pixelated photo of low quality")
        with torch.no_grad():
            z = normalize(embed(backbone.image, InMemory(pictures), run), dim=-1)
            sides = z @ normalize(embed(backbone.text, Texts(words), run), dim=-1).T
        return _by_cut((sides[:, 0] - sides[:, 1]).numpy(), good)

    def by_laplacian(run: Run) -> Floats:
        pictures, good = pool(run)
        return _by_cut(np.array([_sharpness(picture) for picture in pictures]), good)

    arms: dict[str, Value] = {
        "vector-head": by_head,
        PERMUTED: lambda run: by_head(run, permuted=True),
        WORDS: by_words,
        LAPLACIAN: by_laplacian,
        CHANCE: lambda run: np.full(len(photos) - LABELLED, 0.5),
    }
    return PlantedBench(backbone, run, seeds, {**facts, "labelled": LABELLED}, arms)


def faulty(captions: Sequence[str], run: Run) -> tuple[list[Pair], NDArray[np.int64], Bools]:
    """Return captions, half of which have a fault; (P,) number of the group of each, whose captions are one text; and
    (P,) whether it has a fault of its own.
    """
    rng = np.random.default_rng(run.integer("faults"))
    texts, groups, bad = list(captions), np.arange(len(captions)), np.zeros(len(captions), dtype=bool)
    names = [f"{run.seed}/{i}.jpg" for i in range(len(texts))]
    order = rng.permutation(len(texts)).tolist()
    sound = order[len(order) // 2 :]
    for place, i in enumerate(order[: len(order) // 2]):
        kind, other = place % 5, sound[place % len(sound)]
        if kind == 0:
            texts[i], groups[i] = captions[other].upper().replace(".", "!"), other
        elif kind == 1:  # one word more, at the end
            texts[i], groups[i] = f"{captions[other].rstrip(' .')} today .", other
        else:
            bad[i] = True
        if kind == 2:
            names[i] = f"{run.seed}/{'_'.join(words_of(captions[i]))}.jpg"
        elif kind == 3:
            texts[i] = f"{captions[i]}. {captions[i]}"
        elif kind == 4:
            texts[i] = " ".join([captions[i], *(captions[int(k)] for k in rng.integers(0, len(captions), 12))])
    return [Pair(name, said=text) for name, text in zip(names, texts, strict=True)], groups, bad


def open_captions(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> PlantedBench:
    """Open one caption per photo, half of them faulty. Value of a caption: whether the verdict on it is right, where
    of a group of equal or nearly equal captions exactly one is to be kept.
    """
    table = open_data(present(name), need="captions", text="caption_*").whole()
    captions = tuple(texts[0] for texts in table.columns["captions"].values)
    facts = {"data_hash": hash_of_words(table.items, captions), "items": len(captions)}
    checks, kit = CaptionChecks(), Kit({"main": backbone})

    def value(keep: Callable[[list[Pair], Run], Bools], run: Run) -> Floats:
        pairs, groups, bad = faulty(captions, run)
        kept = keep(pairs, run)
        alone = np.bincount(groups, kept & ~bad, len(captions)) == 1
        return np.where(bad, ~kept, alone[groups]).astype(np.float64)

    def checked(pairs: list[Pair], run: Run) -> Bools:
        return judged(checks, backbone, pairs, run)

    def shuffled(pairs: list[Pair], run: Run) -> Bools:
        return checked(in_random_order(pairs, run), run)

    def shortest(pairs: list[Pair], run: Run) -> Bools:
        lengths = np.array([len(pair.said) for pair in pairs])
        keep = np.zeros(len(pairs), dtype=bool)
        keep[np.argsort(lengths, kind="stable")[: int(checked(pairs, run).sum())]] = True
        return keep

    def by_luck(pairs: list[Pair], run: Run) -> Bools:
        """Permute who is called a duplicate among those that pass the rules: what dropping as many more is worth."""
        plan = checks.plan(kit, Captions(tuple(pairs)), run)
        labels = [verdict.labels for verdict in checks.apply(kit, plan, Captions(tuple(pairs)), run)]
        keep = np.array([not faults for faults in labels])
        passed = np.array([faults in ((), ("duplicate",)) for faults in labels])
        keep[passed] = np.random.default_rng(run.integer("at random")).permutation(keep[passed])
        return keep

    def like(pairs: list[Pair], run: Run) -> Bools:
        rng, keep = np.random.default_rng(run.integer("like length")), checked(pairs, run)
        order = np.argsort([len(words_of(pair.said)) for pair in pairs], kind="stable")
        for start in range(0, len(order), LIKE):
            some = order[start : start + LIKE]
            keep[some] = keep[rng.permutation(some)]
        return keep

    arms: dict[str, Callable[[list[Pair], Run], Bools]] = {
        "caption-checks": checked,
        IDENTICAL: _distinct,
        SHORTEST: shortest,
        LIKE_LENGTH: like,
        LUCK: by_luck,
        SHUFFLED: shuffled,
    }
    return PlantedBench(backbone, run, seeds, facts, {key: partial(value, arm) for key, arm in arms.items()})


def in_random_order(pairs: Sequence[Pair], run: Run) -> list[Pair]:
    """Return pairs whose texts have their own words in random order, without marks.

    Names of files, lengths and vocabulary stay, so what judges by these alone judges as before.
    """
    rng = np.random.default_rng(run.integer(SHUFFLED))
    return [replace(pair, said=" ".join(rng.permutation(words_of(pair.said)).tolist())) for pair in pairs]


def _photos(name: str, most: int) -> tuple[list[Image.Image], dict[str, Any]]:
    table = few(open_data(present(name)).whole(), most)
    photos = [ImageOps.contain(table.items[i].convert("RGB"), (SIDE, SIDE)) for i in range(len(table.items))]
    keys = [table.items.key(i) for i in range(len(photos))]
    return photos, {"data_hash": hash_of_words(InMemory(photos, keys=keys), ()), "items": len(photos)}


def _distinct(pairs: Sequence[Pair], run: Run) -> Bools:
    """Return whether each pair is the first with its pixels and its text."""
    seen, keep = set[tuple[bytes, str]](), []
    for pair in pairs:
        key = pair.picture.tobytes() if pair.picture else b"", pair.said
        keep.append(key not in seen)
        seen.add(key)
    return np.array(keep)


def _by_cut(scores: Floats, good: Bools) -> Floats:
    """Return whether the pictures that are not labelled are told right by the cut that is best for the labelled."""
    labelled, rest = scores[:LABELLED], scores[LABELLED:]
    cut = max(labelled.tolist(), key=lambda c: float(((labelled >= c) == good[:LABELLED]).mean()))
    return np.asarray((rest >= cut) == good[LABELLED:], dtype=np.float64)


def _sharpness(picture: Image.Image) -> float:
    from scipy.ndimage import laplace

    return float(laplace(np.asarray(picture.convert("L"), dtype=np.float64)).var())
