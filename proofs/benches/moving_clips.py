"""Proof of video systems: composed clips of photographed things that move over photos, and real clips as counts.

Things and photos of the test clips are none of those of the train clips. Heads stand behind frames that are encoded
once for all trainings.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import Backbone, Column, NotAvailable, Run, Table
from diptych.data.folders import image_paths
from diptych.data.formats.clips import FrameFolders
from diptych.data.images import open_image
from diptych.data.named_sets import present
from diptych.data.scenes.sprites import Picture
from diptych.evaluation.arms import Arm, Bench, Measured
from diptych.evaluation.boards.extend import ClipData, ClipTest, ExtendBench
from diptych.evaluation.datasets import Clips, known_set
from proofs.scenes.moving import BACKWARDS, Moving, MovingClips, drawn_plan, white_cut_out
from proofs.trial import Tabled, hash_of

NEW_CLASSES = "acc1_new_classes"

BASE: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("animals", "birds"): "bird",
        ("plants", "flowers"): "flower",
        ("food", "fruit"): "fruit",
        ("animals", "mammals"): "mammal",
        ("symbols", "money"): "coin",
        ("town", "roadsigns"): "road sign",
        ("household", "tools"): "tool",
        ("food", "vegetables"): "vegetable",
    }
)
NEW: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("vehicles", "auto"): "car",
        ("animals", "fish"): "fish",
        ("clothes", ""): "piece of clothing",
        ("hobbies", "music"): "musical instrument",
        ("sports", ""): "piece of sports equipment",
        ("plants", "trees"): "tree",
    }
)
FRAMES, SIDE, SHOTS = 4, 224, 16
POOL, TEST, TEST_NEW, PLAYED = 32, 30, 20, 4
"""Clips a class: to draw shots from, to test on, of new classes, and of those that are also played backwards."""


def shuffled_texts(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with its texts shuffled: the control of what learns."""
    texts = table.columns["captions"].values
    order = np.random.default_rng(run.integer("shuffle")).permutation(len(texts))
    return Table(table.items, {"captions": Column("captions", [texts[i] for i in order])})


def shuffled_answers(test: ClipTest, run: Run) -> ClipTest:
    """Return the clips with the right texts of others: the control of what learns nothing."""
    return replace(test, answers=test.answers[np.random.default_rng(run.seed).permutation(len(test.answers))])


def prompt(name: str) -> str:
    """Return the text of a class of things."""
    return f"a photo of a {name}."


@dataclass(frozen=True)
class Composed:
    """Composed clips: what to learn from, what to test on, and some of both played in both directions.

    Args:
        train, test, new: clips with one text each.
        played, replayed: train and test clips forwards, then the same clips backwards, texts saying how they move.
    """

    train: Table[Any]
    test: Table[Any]
    new: Table[Any]
    played: Table[Any]
    replayed: Table[Any]
    hash: str


def compose(name: str, frames: int = FRAMES) -> Composed:
    """Compose the clips of a folder of stamps, over the photos of the folder ``coco_mini`` beside it.

    Raises:
        NotAvailable: the stamps or the photos are not on this machine.
    """
    root = present(name, "stamps.csv")
    if not (root.parent / "coco_mini" / "images").is_dir():
        raise NotAvailable(f"The photos {root.parent / 'coco_mini'} are not here: the things move over them.")
    photos = [_square(open_image(p)) for p in image_paths(root.parent / "coco_mini" / "images")]
    half = len(photos) // 2
    with (root / "stamps.csv").open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["kind_guess"] == "photo_or_painting"]
    rng = np.random.default_rng(2023)
    sprites: list[Picture] = []
    train: list[Moving] = []
    test: list[Moving] = []
    new: list[Moving] = []
    for key, word in {**BASE, **NEW}.items():
        chosen = [r for r in rows if (r["category"], r["subcategory"]) == key]
        numbers = range(len(sprites), len(sprites) + len(chosen))
        sprites += [white_cut_out(open_image(root / r["path"]), word) for r in chosen]
        order = rng.permutation(numbers)
        if key in NEW:
            new += drawn_plan(_dealt(order, TEST_NEW), range(half, len(photos)), 1, rng)
            continue
        train += drawn_plan(_dealt(order[: len(order) // 2], POOL), range(half), 1, rng)
        test += drawn_plan(_dealt(order[len(order) // 2 :], TEST), range(half, len(photos)), 1, rng)

    def table(plan: Sequence[Any], texts: Sequence[str] | None = None) -> Table[Any]:
        items = MovingClips(sprites, photos, tuple(plan), frames)
        names = texts or [prompt(sprites[p.sprite].name) for p in plan]
        return Table(items, {"captions": Column("captions", list(names))})

    def both_ways(plan: Sequence[Any], count: int) -> Table[Any]:
        forth = [p for k in range(len(BASE)) for p in plan[k * count : k * count + PLAYED]]
        back = [replace(p, backwards=True) for p in forth]
        motions = [p.motion for p in forth] + [BACKWARDS[p.motion] for p in back]
        return table([*forth, *back], [f"a thing that moves: {motion}." for motion in motions])

    tables = (table(train), table(test), table(new), both_ways(train, POOL), both_ways(test, TEST))
    return Composed(*tables, hash=hash_of(*(t.items for t in tables)))


@dataclass(frozen=True)
class Direction:
    """The system of an arm that learns clips played forwards and backwards, and is asked which way they go.

    Args:
        system: which learns, or ``CHANCE``.
    """

    system: Any


@dataclass(frozen=True)
class MovingBench(ExtendBench):
    """Composed clips; the part ``NEW_CLASSES`` holds the hits on classes that no system has seen.

    Args:
        played: clips in both directions; the two of a pair are asked for by themselves.
    """

    played: ClipData | None = None

    def measure(self, arm: Arm) -> Measured:
        """Measure as ``ExtendBench``, or on the clips in both directions."""
        if not isinstance(arm.system, Direction):
            return super().measure(arm)
        assert self.played is not None
        return ExtendBench(self.played, self.backbone, self.run, self.seeds, self.frames).measure(
            Arm(arm.system.system)
        )


def open_clips(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, counted: Sequence[Any] = (), frames: int = 0
) -> Bench:
    """Compose clips, or count right answers of the systems ``counted`` on real ones, which are too few for shares."""
    if (known := known_set(name)) is not None and known.clips is not None:
        return Tabled(backbone, run, seeds, "acc1", _counts(name, known.clips, backbone, run, seeds, counted))
    frames = frames or FRAMES
    data = compose(name, frames)
    clips = sum(len(table) for table in (data.train, data.test, data.new))
    facts = {"data_hash": data.hash, "items": len(data.test), "clips": clips, "classes": len(BASE)}
    tests = {"": (ClipTest.of(data.test),), NEW_CLASSES: (ClipTest.of(data.new),)}
    half = len(data.replayed) // 2
    pairs = [ClipTest.of(data.replayed.take([i, i + half])) for i in range(half)]
    return MovingBench(
        ClipData(data.train, tests, facts), backbone, run, seeds, frames, played=ClipData(data.played, {"": pairs})
    )


def _counts(
    name: str, clips: Clips, backbone: Backbone, run: Run, seeds: tuple[int, ...], systems: Sequence[Any]
) -> dict[str, Any]:
    """Count right answers on real clips; learn where the set has a train split."""
    root = present(name, clips.table)
    with (root / clips.table).open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    items = FrameFolders([str(root / r[clips.frames]) for r in rows], clips.each)
    whole: Table[Any] = Table(
        items, {"captions": Column("captions", [clips.prompt.replace("{}", r["action"]) for r in rows])}
    )
    train, test = (
        whole.take([i for i, r in enumerate(rows) if r.get("split", "val") == split]) for split in ("train", "val")
    )
    clip_test = ClipTest.of(test)
    bench = ExtendBench(ClipData(train, {"": (clip_test,)}), backbone, run, seeds, items.frames)
    counts: dict[str, list[int]] = {}
    for system in systems:
        if system.card.trains == "nothing" or len(train):
            result = bench.measure(Arm(replace(system, frames=items.frames)))
            counts[system.card.slug] = result.values[: len(result.seeds)].sum(1).astype(int).tolist()
    sizes = {"items": len(test), "clips": len(rows), "classes": len(clip_test.texts)}
    return {"data_hash": hash_of(items), **sizes, "right": counts}


def _dealt(numbers: NDArray[np.int64], count: int) -> list[int]:
    """Return ``count`` of the numbers, each as often as the others."""
    return [int(numbers[i % len(numbers)]) for i in range(count)]


def _square(image: Image.Image) -> NDArray[np.uint8]:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cut = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.array(cut, dtype=np.uint8)
