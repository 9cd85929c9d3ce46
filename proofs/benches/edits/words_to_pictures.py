"""The bench of pictures from words: what is asked for is read from them, by comparison with every mask.

Pictures are of one object on composed scenes of 32 pixels, the kind that the small denoiser draws. Every colour is
asked for with every shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.backbones.diffusion.load import SMALL_SCENES
from diptych.backbones.sources.load import load
from diptych.core import Backbone, EditAsk, Editor, Evidence, Kit, Run, Table
from diptych.data.scenes.compose import Scenes
from diptych.data.scenes.tables import scene_table
from diptych.data.words.sentences import article
from diptych.evaluation.arms import CHANCE, Arm, Floats, Measured, over_seeds
from diptych.methods.edit.galip import GALIP
from proofs.benches.edits.frechet import frechet_distance
from proofs.benches.training.pairs import shuffled_captions
from proofs.benches.training.scene_pairs import NewTowers, only_scenes
from proofs.scenes.read import SceneReader
from proofs.trial import Claim, PlainBench, Trial, hash_of

SHAPE = "shape"
"""Part: whether the shape that was asked for is read; the whole is the colour."""
DISTANCE = "frechet_distance"
"""Number: distance of the pictures to as many unseen scenes, in Lite0's features."""
SIZES = {"train": 800, "test": 96}
EACH = 2
"""Pictures of each pair of colour and shape."""


@dataclass(frozen=True)
class Drawing:
    """A way to make pictures from words: the system of an arm.

    Args:
        method: an editor that begins with words.
        start: from the backbone and a run to the one that it gets; None: the backbone itself.
        scenes: from the train scenes and a run to those that it learns from; None: the scenes themselves.
    """

    method: Editor
    start: Callable[[Any, Run], Backbone] | None = None
    scenes: Callable[[Table[Any], Run], Table[Any]] | None = None


@dataclass
class WordsBench(PlainBench):
    """Pictures asked for in words."""

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    train: Table[Any]
    held: Table[Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "colour_read"

    def __post_init__(self) -> None:
        bank = SMALL_SCENES.bank
        self.pairs = [(c, s) for c in bank.colours for s in bank.shapes for _ in range(EACH)]
        self.asks = tuple(article(f"{c} {s}") for c in bank.colours for s in bank.shapes)
        self.reader = SceneReader(bank, SMALL_SCENES.size, SMALL_SCENES.sides)
        self.eye = load("lite")
        self.real = self._features([self.held.items[i] for i in range(len(self.held))])

    def measure(self, arm: Arm) -> Measured:
        """Train on the scenes and draw every pair."""
        if arm.system == CHANCE:
            bank, n = SMALL_SCENES.bank, len(self.pairs)
            values = np.full(n, 1 / len(bank.colours)), np.full(n, 1 / len(bank.shapes))
            return over_seeds(lambda run: (values[0], {}, {SHAPE: values[1]}), self.run, self.seeds, draws=False)
        return over_seeds(lambda run: self._reached(arm.system, run), self.run, self.seeds, draws=True)

    def _reached(self, how: Drawing, run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        quiet = replace(run, out=None, workers=0)
        backbone = how.start(self.backbone, quiet) if how.start else self.backbone
        train = how.scenes(self.train, quiet) if how.scenes else self.train
        fitted = how.method.fit(Kit({"main": backbone}), Evidence(train=train), quiet)
        pictures = fitted.edit(EditAsk("", self.asks, count=EACH), quiet).after
        pixels = (255 * torch.stack(list(pictures))).round().to(torch.uint8)
        seen = [objects[0] for objects in self.reader.read_all(pixels.permute(0, 2, 3, 1).numpy())]
        colour, shape = (
            np.array([getattr(one, name) == pair[k] for one, pair in zip(seen, self.pairs, strict=True)], dtype=float)
            for k, name in enumerate(("colour", "shape"))
        )
        far = frechet_distance(self._features(list(pictures)), self.real)
        return colour, {SHAPE: float(shape.mean()), DISTANCE: far}, {SHAPE: shape}

    @torch.no_grad()
    def _features(self, pictures: list[Any]) -> Tensor:
        """Return the pooled last maps of Lite0, (N, C)."""
        size, dense = self.eye.image.size or 224, self.eye.dense()
        rows = []
        for k in range(0, len(pictures), 32):
            some = pictures[k : k + 32]
            if isinstance(some[0], Tensor):
                stacked = torch.stack(some)
                some = list(torch.nn.functional.interpolate(stacked, size=(size, size), mode="bilinear"))
            x = self.eye.image.inputs(some)
            rows.append(dense.pool(dense.maps(x if isinstance(x, Tensor) else x["pixels"])[-1])[:, 0])
        return torch.cat(rows)


def open_words(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> WordsBench:
    """Open composed scenes of one object."""
    only_scenes(name)
    parts = Scenes(SMALL_SCENES, SIZES["train"]), Scenes(SMALL_SCENES, SIZES["test"], start=SIZES["train"])
    train, held = map(scene_table, parts)
    bench = WordsBench(backbone, run, seeds, train, held)
    bench.facts = {
        "data_hash": hash_of(train.items, held.items),
        "split": "test",
        "items": len(bench.pairs),
        "train": len(train),
        "real": len(held),
        "trains": "two networks on a frozen backbone, on composed scenes of 32 pixels",
    }
    return bench


SMALL = GALIP(**GALIP.card.variants["small"])
RANDOM = Arm(Drawing(SMALL, start=NewTowers()))
"""The same training on towers of random weights: what scenes and two networks teach without CLIP."""
ASKED, OVER_RANDOM = Claim(CHANCE), Claim("the same on random towers", base=RANDOM)
OTHERS = Arm(Drawing(SMALL, scenes=shuffled_captions))
TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "galip": Trial(
            (ASKED, OVER_RANDOM),
            arm=Arm(Drawing(SMALL)),
            controls=(
                replace(ASKED, arm=OTHERS, name="captions of other scenes"),
                replace(OVER_RANDOM, arm=OTHERS, name="captions of other scenes"),
            ),
            beside={"shapes": Claim(CHANCE, part=SHAPE)},
            bench=open_words,
        )
    }
)
