"""Proof of video systems: composed clips of photographed things that move over photos, and real clips as counts.

Things and photos of the test clips are none of those of the train clips. Heads stand behind frames that are encoded
once for all trainings.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import Column, Evidence, Samples, Subset, Table
from diptych.core.errors import NotAvailable, UnreadableItem
from diptych.core.kit import Kit
from diptych.core.method import Extender
from diptych.core.run import Run
from diptych.data.folders import image_paths
from diptych.data.formats.clips import FrameFolders
from diptych.data.images import open_image
from diptych.data.named_sets import present
from diptych.data.scenes.moving import BACKWARDS, Moving, MovingClips, drawn_plan
from diptych.data.scenes.sprites import Picture, white_cut_out
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Bench, Measured, Statistic
from diptych.evaluation.datasets import Clips, known_set
from diptych.evaluation.proofs.trial import Hits, Tabled, hash_of
from diptych.features.clips import ClipEncoder, PooledFrames, image_head
from diptych.features.embed import embed

NEW_CLASSES = "new classes"

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
    """Return the table with its texts dealt out anew: the control."""
    texts = table.columns["captions"].values
    order = np.random.default_rng(run.integer("shuffle")).permutation(len(texts))
    return Table(table.items, {"captions": Column("captions", [texts[i] for i in order])})


def thing(name: str) -> str:
    """Return the text of a class of things."""
    return f"a photo of a {name}."


@dataclass(frozen=True)
class Composed:
    """Composed clips: what to learn from, what to test on, and some of both played in both directions.

    Args:
        train, test, new: clips with one text each.
        played, replayed: train and test clips forwards, then the same clips backwards, texts saying how they move.
        hash: of all clips.
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
        own = [r for r in rows if (r["category"], r["subcategory"]) == key]
        numbers = range(len(sprites), len(sprites) + len(own))
        sprites += [white_cut_out(open_image(root / r["path"]), word) for r in own]
        order = rng.permutation(numbers)
        if key in NEW:
            new += drawn_plan(_dealt(order, TEST_NEW), range(half, len(photos)), 1, rng)
            continue
        train += drawn_plan(_dealt(order[: len(order) // 2], POOL), range(half), 1, rng)
        test += drawn_plan(_dealt(order[len(order) // 2 :], TEST), range(half, len(photos)), 1, rng)

    def table(plan: Sequence[Any], texts: Sequence[str] | None = None) -> Table[Any]:
        items = MovingClips(sprites, photos, tuple(plan), frames)
        said = texts or [thing(sprites[p.sprite].name) for p in plan]
        return Table(items, {"captions": Column("captions", list(said))})

    def both_ways(plan: Sequence[Any], count: int) -> Table[Any]:
        forth = [p for k in range(len(BASE)) for p in plan[k * count : k * count + PLAYED]]
        back = [replace(p, backwards=True) for p in forth]
        said = [p.motion for p in forth] + [BACKWARDS[p.motion] for p in back]
        return table([*forth, *back], [f"a thing that moves: {motion}." for motion in said])

    tables = (table(train), table(test), table(new), both_ways(train, POOL), both_ways(test, TEST))
    return Composed(*tables, hash=hash_of(*(t.items for t in tables)))


@dataclass(frozen=True)
class Direction:
    """The system of an arm that learns clips played forwards and backwards, and is asked which way they go.

    Args:
        method: which learns; None: chance.
    """

    method: Extender | None


@dataclass
class ClipBench:
    """Composed clips, pooled once; systems are fitted on shots of train, and asked for the clips of test.

    The part ``NEW_CLASSES`` holds the hits on classes that no system has seen.

    Args:
        data: the clips.
        backbone: of all systems.
        run: device and cache.
        seeds: of shots, shuffles and trainings.
        frames: looked at in each clip.
    """

    data: Composed
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    frames: int
    metric: str = "acc1"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = ()
    failed: tuple[UnreadableItem, ...] = ()
    pooled: dict[str, Tensor] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Hash and sizes."""
        clips = sum(len(t) for t in (self.data.train, self.data.test, self.data.new))
        return {"data_hash": self.data.hash, "items": len(self.data.test), "clips": clips, "classes": len(BASE)}

    def measure(self, arm: Arm) -> Measured:
        """Name the clips of the base classes, and beside them those of the new ones; the answers of a spoiled system
        that learns nothing are shuffled.
        """
        if isinstance(arm.system, Direction):
            return self._direction(arm.system.method)
        tables = (self.data.test, self.data.new)
        texts = [list(t.columns["captions"].values) for t in tables]
        if arm.system == CHANCE:
            base, new = (np.full((len(self.seeds), len(own)), 1 / len(set(own))) for own in texts)
            return Measured(base, {}, self.seeds, {NEW_CLASSES: Measured(new, {}, self.seeds)})
        method: Extender = self._system(arm.system) if isinstance(arm.system, str) else arm.system
        learns = method.card.trains != "nothing"
        rows: tuple[list[Hits], list[Hits]] = ([], [])
        for s in self.seeds:
            own = replace(self.run, seed=s)
            train = shots(self.data.train, own)
            space = tuned(method, self.backbone, arm.spoil(train, own) if arm.spoil else train, own)
            for found, table, said in zip(rows, tables, texts, strict=True):
                moved = arm.spoil and not learns
                right = [said[i] for i in np.random.default_rng(s).permutation(len(said))] if moved else said
                found.append(self.right(space, table.items, right))
        base, new = map(np.stack, rows)
        return Measured(base, {}, self.seeds, {NEW_CLASSES: Measured(new, {}, self.seeds)})

    def _system(self, slug: str) -> Extender:
        system: Any = catalog.find(slug, Extender)
        method: Extender = replace(system(), frames=self.frames)
        return method

    def _direction(self, method: Extender | None) -> Measured:
        """Return whether a clip's own direction is nearer than the opposite one."""
        texts, items = list(self.data.replayed.columns["captions"].values), self.data.replayed.items
        half = len(texts) // 2
        if method is None:
            return Measured(np.full((len(self.seeds), 2 * half), 0.5), {}, self.seeds)
        rows = []
        for s in self.seeds:
            space = tuned(method, self.backbone, self.data.played, replace(self.run, seed=s))
            pairs = [(Subset(items, (i, i + half)), [texts[i], texts[i + half]]) for i in range(half)]
            rows.append(np.concatenate([self.right(space, *pair) for pair in pairs]))
        return Measured(np.stack(rows), {}, self.seeds)

    def right(self, space: Any, items: Samples[Any], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return (N,) 1.0 where the nearest of the different texts is the clip's own; the first of equals counts."""
        names = list(dict.fromkeys(texts))
        pool, _ = image_head(self.backbone)
        key = hash_of(items)
        if key not in self.pooled:
            with torch.no_grad():
                width = pool(torch.zeros(1, 3, self.backbone.image.size or 0, self.backbone.image.size or 0)).shape[1]
            cut = PooledFrames(pool, ClipEncoder(self.backbone.image, self.frames), width)
            self.pooled[key] = embed(cut, items, self.run).unflatten(1, (self.frames, -1))  # type: ignore[no-untyped-call]
        with torch.no_grad():  # heads leave what stands before the pooling as it was
            v = normalize(image_head(space.base)[1](self.pooled[key]).float().mean(1), dim=-1)
            w = normalize(space.text.encode(space.text.inputs(names)), dim=-1)
        found = (v @ w.T).argmax(1).tolist()
        return np.array([names[k] == text for k, text in zip(found, texts, strict=True)], dtype=np.float64)


def tuned(method: Extender, backbone: Backbone, train: Table[Any], run: Run) -> Backbone:
    """Fit and return the space."""
    space = method.fit(Kit({"main": backbone}), Evidence(train=train), run)
    assert isinstance(space, Backbone)
    return space


def open_clips(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, counted: Sequence[Any] = (), frames: int = 0
) -> Bench:
    """Compose clips, or count right answers on real ones, which are too few for shares.

    Args:
        name: of the data set.
        backbone: of all systems.
        run: device and cache.
        seeds: of shots, shuffles and trainings.
        counted: systems whose answers on real clips are counted.
        frames: looked at in each composed clip; 0: ``FRAMES``.
    """
    if (known := known_set(name)) is not None and known.clips is not None:
        return Tabled(backbone, run, seeds, "acc1", _counts(name, known.clips, backbone, run, seeds, counted))
    frames = frames or FRAMES
    return ClipBench(compose(name, frames), backbone, run, seeds, frames)


def _counts(
    name: str, clips: Clips, backbone: Backbone, run: Run, seeds: Sequence[int], systems: Sequence[Any]
) -> dict[str, Any]:
    """Count right answers on real clips; learn where the set has a train split."""
    root = present(name, clips.table)
    with (root / clips.table).open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    items = FrameFolders([str(root / r[clips.frames]) for r in rows], clips.each)
    texts = [clips.prompt.replace("{}", r["action"]) for r in rows]
    place = {split: [i for i, r in enumerate(rows) if r.get("split", "val") == split] for split in ("train", "val")}
    nothing: Table[Any] = Table(items, {})
    empty = Composed(nothing, nothing, nothing, nothing, nothing, "")
    bench = ClipBench(empty, backbone, run, tuple(seeds), items.frames)
    test, said = Subset(items, tuple(place["val"])), [texts[i] for i in place["val"]]
    train = Table(
        Subset(items, tuple(place["train"])), {"captions": Column("captions", [texts[i] for i in place["train"]])}
    )
    counts: dict[str, list[int]] = {}
    for system in systems:
        method = replace(system, frames=items.frames)
        if method.card.trains == "nothing" or place["train"]:
            chosen = seeds if method.card.trains != "nothing" else seeds[:1]
            spaces = (tuned(method, backbone, train, replace(run, seed=s)) for s in chosen)
            counts[method.card.slug] = [int(bench.right(space, test, said).sum()) for space in spaces]
    sizes = {"items": len(said), "clips": len(rows), "classes": len(set(said))}
    return {"data_hash": hash_of(items), **sizes, "right": counts}


def shots(table: Table[Any], run: Run) -> Table[Any]:
    """Return SHOTS clips a text, drawn by the run."""
    texts = np.array(table.columns["captions"].values)
    rng = np.random.default_rng(run.integer("shots"))
    return table.take(
        np.concatenate(
            [rng.permutation(np.flatnonzero(texts == t))[:SHOTS] for t in dict.fromkeys(texts.tolist())]
        ).tolist()
    )


def _dealt(numbers: NDArray[np.int64], count: int) -> list[int]:
    """Return ``count`` of the numbers, each as often as the others."""
    return [int(numbers[i % len(numbers)]) for i in range(count)]


def _square(image: Image.Image) -> NDArray[np.uint8]:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cut = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.array(cut, dtype=np.uint8)
