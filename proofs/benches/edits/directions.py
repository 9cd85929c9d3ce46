"""Proof of systems that see the order of frames: composed clips of photographed things that move in four directions.

A thing of any kind crosses the mean colour of a photo to the right, to the left, down or up. Things and photos of the
test clips are none of those of the train clips. Frames in any order show the line along which a thing moves, and their
order alone shows which way: so each clip is also asked between its direction and the opposite one.

``tiny`` has seen no motion, and its embeddings of "right" and "left" have a cosine of 0.997. So each direction has a
text that it tells from the others, which stands for the direction and shows none.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diptych.core import Backbone, Column, NotAvailable, Run, Samples, Table
from diptych.data.folders import image_paths
from diptych.data.images import open_image
from diptych.data.named_sets import present
from diptych.evaluation.arms import Arm, Floats, Measured, over_seeds
from diptych.evaluation.boards.extend import ClipData, ClipTest, ExtendBench
from diptych.methods.extend.ila import ILA
from diptych.nn.spaces.aligned_clips import ILANet
from proofs.scenes.moving import MovingClips, drawn_plan, white_cut_out
from proofs.trial import hash_of

TEXTS: Mapping[str, str] = MappingProxyType(
    {"right": "a red circle", "left": "a green square", "down": "a blue star", "up": "a yellow heart"}
)
"""Direction -> the text that stands for it."""
OPPOSITES, PAIRS = "acc1_of_opposites", (("right", "left"), ("down", "up"))
"""Part: clips that are told from the opposite direction; what knows no order is right in half of them."""
UNORDERED = "a linear head on frames without order"
"""The arm that sees the mean of the frames' tokens, cell by cell: it knows where a thing was, and not when."""
FRAMES, SIDE = 4, 64
EACH = 1
"""Clips of every thing and direction; their photos, sizes and lanes are drawn."""
TRAIN, TEST = 45, 60
"""Things, whose clips go in all directions."""


@dataclass(frozen=True)
class WithoutAlignment(ILA):
    """ILA whose blocks see no neighbours: integration over the frames, and prompts, alone."""

    def trained(self, net: ILANet) -> tuple[str, ...]:
        """Return all names but those of alignment, whose last maps stay 0."""
        return tuple(name for name in super().trained(net) if not name.startswith("align"))


@dataclass(frozen=True)
class ShuffledFrames:
    """Clips whose frames are in an order drawn for each.

    Args:
        seed: of the orders.
    """

    clips: Samples[Any]
    seed: int

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int, /) -> Any:
        clip = self.clips[index]
        order = np.random.default_rng([self.seed, index]).permutation(len(clip))
        return tuple(clip[i] for i in order)

    def key(self, index: int, /) -> str:
        """Return the hash of the clip's key and the draw."""
        return sha256(f"{self.clips.key(index)} {self.seed} {index}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the clip's name."""
        return self.clips.name(index)


def shuffled_frames(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the frames of each clip shuffled: the control of what sees their order."""
    return Table(ShuffledFrames(table.items, run.integer("frames")), table.columns)


@dataclass(frozen=True)
class DirectionBench(ExtendBench):
    """Clips of four directions, with an arm that knows no order beside the systems."""

    def measure(self, arm: Arm) -> Measured:
        """Measure as ``ExtendBench``, or fit the linear head on frames without order."""
        if arm.system != UNORDERED:
            return super().measure(arm)
        captions = self.data.train.columns["captions"].values
        head = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=500))
        head.fit(self._means(self.data.train.items), captions)
        place = {text: k for k, text in enumerate(head.classes_)}

        def hits(test: ClipTest) -> Floats:
            scores = head.decision_function(self._means(test.items))[:, [place[text] for text in test.texts]]
            return np.asarray(scores.argmax(1) == test.answers, dtype=np.float64)

        values = {part: np.concatenate([hits(test) for test in tests]) for part, tests in self.data.tests.items()}
        parts = {part: of_part for part, of_part in values.items() if part}
        return over_seeds(lambda run: (values[""], {}, parts), self.run, self.seeds, draws=False)

    @torch.no_grad()
    def _means(self, clips: Samples[Any]) -> Floats:
        tower, rows = self.backbone.tower("image"), []
        for i in range(len(clips)):
            state = tower.blocks(tower.start(self.backbone.image.inputs(list(clips[i]))))
            rows.append(state.h[:, state.prefix :].mean(0).flatten().double().numpy())
        return np.array(rows)


def open_directions(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, things: tuple[int, int] = (TRAIN, TEST)
) -> DirectionBench:
    """Compose the clips of a folder of stamps, over the photos of the folder ``coco_mini`` beside it.

    ``things`` are the numbers of things to learn from and to test on.
    """
    root = present(name, "stamps.csv")
    folder = root.parent / "coco_mini" / "images"
    if not folder.is_dir():
        raise NotAvailable(f"The photos {folder} are not here: the things move over them.")
    rng = np.random.default_rng(2304)
    with (root / "stamps.csv").open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["kind_guess"] == "photo_or_painting"]
    rows = [rows[i] for i in rng.permutation(len(rows))[: sum(things)]]
    paths = image_paths(folder)[: sum(things)]
    photos = [_plain(open_image(p)) for p in paths]
    sprites = [white_cut_out(open_image(root / r["path"]), "thing") for r in rows]

    def table(numbers: Sequence[int], backdrops: Sequence[int]) -> Table[Any]:
        plan = [replace(p, motion=motion) for motion in TEXTS for p in drawn_plan(numbers, backdrops, EACH, rng)]
        texts = [TEXTS[p.motion] for p in plan]
        return Table(MovingClips(sprites, photos, tuple(plan), FRAMES), {"captions": Column("captions", texts)})

    half = len(photos) // 2
    train = table(range(things[0]), range(half))
    test = table(range(things[0], len(rows)), range(half, len(photos)))
    facts = {
        "data_hash": hash_of(train.items, test.items),
        "items": len(test),
        "clips": len(train) + len(test),
        "classes": len(TEXTS),
    }
    captions = test.columns["captions"].values
    pairs = [[i for i, text in enumerate(captions) if text in (TEXTS[a], TEXTS[b])] for a, b in PAIRS]
    tests = {"": (ClipTest.of(test),), OPPOSITES: tuple(ClipTest.of(test.take(rows)) for rows in pairs)}
    return DirectionBench(ClipData(train, tests, facts), backbone, run, seeds, FRAMES)


def _plain(image: Image.Image) -> NDArray[np.uint8]:
    """Return a square of a photo's mean colour."""
    colour = np.asarray(image, dtype=np.float64).mean((0, 1))
    return np.broadcast_to(colour.astype(np.uint8), (SIDE, SIDE, 3)).copy()
