"""Proof of video systems: composed clips of photographed things that move over photos, and real clips as counts.

Things and photos of the test clips are none of those of the train clips. Heads stand behind frames that are encoded
once for all trainings.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.data import Column, Evidence, Samples, Subset, Table
from diptych.core.errors import NotAvailable
from diptych.core.kit import Kit
from diptych.core.method import Extender
from diptych.core.run import Run
from diptych.data.folders import image_paths
from diptych.data.formats.clips import FrameFolders
from diptych.data.images import open_image
from diptych.data.named_sets import present
from diptych.data.scenes.moving import BACKWARDS, Moving, MovingClips, drawn_plan
from diptych.data.scenes.sprites import Picture, white_cut_out
from diptych.evaluation.datasets import Clips, known_set
from diptych.evaluation.proofs.classify import CHANCE
from diptych.evaluation.proofs.own import Hits, claim, control, hash_of, twin
from diptych.features.clips import ClipEncoder, PooledFrames, image_head
from diptych.features.embed import embed
from diptych.methods.extend.frame_mean import FrameMean
from diptych.methods.extend.vifi_clip import ViFiCLIP

Spoil = Callable[[Table[Any], Run], Table[Any]]

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


@dataclass
class ClipBench:
    """Clips, pooled once, and what each system hit."""

    backbone: Backbone
    run: Run
    frames: int
    pooled: dict[str, Tensor] = field(default_factory=dict)

    def tuned(self, method: Extender, train: Table[Any], run: Run) -> Backbone:
        """Fit and return the space."""
        space = method.fit(Kit({"main": self.backbone}), Evidence(train=train), run)
        assert isinstance(space, Backbone)
        return space

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


@dataclass(frozen=True)
class ClipTrial:
    """The proof of one video system.

    Args:
        method: what is proved; heads only.
        baseline: what it must beat; None: chance.
        twins: what is measured beside it, on base and on new classes.
    """

    method: ViFiCLIP | FrameMean
    baseline: FrameMean | None = None
    twins: Mapping[str, ViFiCLIP] = field(default_factory=dict)

    metric = "acc1"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Measure on composed clips, or count on real ones."""
        if (known := known_set(name)) is not None and known.clips is not None:
            return self._counts(name, known.clips, backbone, run, seeds)
        data, bench, seed = compose(name), ClipBench(backbone, run, FRAMES), run.integer("bootstrap")
        said, new = (list(t.columns["captions"].values) for t in (data.test, data.new))
        learns = self.method.card.trains != "nothing"

        def hits(method: Extender | None, spoil: Spoil | None = None) -> tuple[Hits, Hits]:
            """Return (seeds, items) hits on clips of the base classes and of the new ones."""
            rows: tuple[list[Hits], list[Hits]] = ([], [])
            for s in seeds:
                own = replace(run, seed=s)
                train = shots(data.train, own)
                space = None if method is None else bench.tuned(method, spoil(train, own) if spoil else train, own)
                for found, table, texts in zip(rows, (data.test, data.new), (said, new), strict=True):
                    right = (
                        texts
                        if learns or spoil is None
                        else [texts[i] for i in np.random.default_rng(s).permutation(len(texts))]
                    )
                    chance = np.full(len(texts), 1 / len(set(texts)))
                    found.append(chance if space is None else bench.right(space, table.items, right))
            return np.stack(rows[0]), np.stack(rows[1])

        (own, fresh), (base, base_fresh) = hits(self.method), hits(self.baseline)
        over = CHANCE if self.baseline is None else self.baseline.card.slug
        about = {"over": over, "variant": None, "shots": SHOTS if learns else 0}
        spoiled, _ = hits(self.method, shuffled_texts)
        controls = [control({"name": "shuffled texts", **about}, self.metric, spoiled, base, seed)]
        beside = []
        if learns:
            way = list(data.replayed.columns["captions"].values)
            played = (bench.tuned(self.method, data.played, replace(run, seed=s)) for s in seeds)
            both = np.stack([_of_two(bench, space, data.replayed.items, way) for space in played])
            way_back = {"name": "forwards or backwards", **about, "over": CHANCE}
            controls.append(control(way_back, self.metric, both, np.full_like(both, 0.5), seed))
            beside.append(twin("new classes: frame mean", SHOTS, self.metric, fresh, base_fresh, seed))
            for label, method in self.twins.items():
                seen, unseen = hits(method)
                beside.append(twin(label, SHOTS, self.metric, own, seen, seed))
                beside.append(twin(f"new classes: {label}", SHOTS, self.metric, fresh, unseen, seed))
        return {
            "data_hash": data.hash,
            "items": len(data.test),
            "clips": sum(len(t) for t in (data.train, data.test, data.new)),
            "classes": len(BASE),
            "claims": [claim(about, self.metric, own, base, seed)],
            "controls": controls,
            "beside": beside,
        }

    def _counts(self, name: str, clips: Clips, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Count right answers on real clips, which are too few for shares; learn where the set has a train split."""
        root = present(name, clips.table)
        with (root / clips.table).open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
        items = FrameFolders([str(root / r[clips.frames]) for r in rows], clips.each)
        texts = [clips.prompt.replace("{}", r["action"]) for r in rows]
        place = {split: [i for i, r in enumerate(rows) if r.get("split", "val") == split] for split in ("train", "val")}
        bench = ClipBench(backbone, run, items.frames)
        test, said = Subset(items, tuple(place["val"])), [texts[i] for i in place["val"]]
        train = Table(
            Subset(items, tuple(place["train"])), {"captions": Column("captions", [texts[i] for i in place["train"]])}
        )
        systems = {m.card.slug: replace(m, frames=items.frames) for m in (self.method, self.baseline) if m is not None}
        counts: dict[str, list[int]] = {}
        for slug, method in systems.items():
            if method.card.trains == "nothing" or place["train"]:
                chosen = seeds if method.card.trains != "nothing" else seeds[:1]
                counts[slug] = [
                    int(bench.right(bench.tuned(method, train, replace(run, seed=s)), test, said).sum()) for s in chosen
                ]
        about = {
            "data_hash": hash_of(items),
            "items": len(said),
            "clips": len(rows),
            "classes": len(set(said)),
            "right": counts,
        }
        return {**about, "claims": [], "controls": [], "beside": []}


def shots(table: Table[Any], run: Run) -> Table[Any]:
    """Return SHOTS clips a text, drawn by the run."""
    texts = np.array(table.columns["captions"].values)
    rng = np.random.default_rng(run.integer("shots"))
    return table.take(
        np.concatenate(
            [rng.permutation(np.flatnonzero(texts == t))[:SHOTS] for t in dict.fromkeys(texts.tolist())]
        ).tolist()
    )


def _of_two(bench: ClipBench, space: Backbone, items: Samples[Any], texts: Sequence[str]) -> NDArray[np.float64]:
    """Return (N,) 1.0 where the clip's own direction is nearer than the opposite one."""
    half = len(texts) // 2
    rights = []
    for i in range(half):
        pair = Subset(items, (i, i + half))
        rights.append(bench.right(space, pair, [texts[i], texts[i + half]]))
    return np.concatenate(rights)


def _dealt(numbers: NDArray[np.int64], count: int) -> list[int]:
    """Return ``count`` of the numbers, each as often as the others."""
    return [int(numbers[i % len(numbers)]) for i in range(count)]


def _square(image: Image.Image) -> NDArray[np.uint8]:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cut = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.array(cut, dtype=np.uint8)
