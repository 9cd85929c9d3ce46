"""Walls of photographs in place of slides: tiles of many alike and few rare things, of which some are picked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import normalize

from diptych.core import Backbone, Kit, Run
from diptych.data.load import open_data
from diptych.data.memory import InMemory
from diptych.data.named_sets import present
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import Arm, Floats, Measured, over_seeds
from diptych.evaluation.boards.caption_pool import Captions
from diptych.features.embed import embed
from diptych.methods.curate.pathgen import PathGen
from proofs.trial import PlainBench, hash_of

COMMON, RARE, FEW = 15, 25, 2
"""Kinds of which all photographs are on the wall, and kinds of which few are."""
TOP = SAMPLED = 40
RANDOM, BY_WORDS = "as many tiles at random", "as many tiles by words alone"
COVERAGE = "coverage"


@dataclass(frozen=True)
class Wall:
    """Stands for a slide; it has no report."""

    path: str

    def findings(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()


@dataclass(frozen=True)
class Piece:
    """A photograph as a tile."""

    slide: Wall
    name: str
    picture: Image.Image = field(repr=False, compare=False)

    def image(self) -> Image.Image:
        """Return the photograph."""
        return self.picture


@dataclass
class WallBench(PlainBench):
    """Value of a rare tile: whether it is picked. Part "coverage": cosine of every tile to the nearest picked one."""

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    pictures: Sequence[Image.Image]
    labels: NDArray[np.int64]
    names: Sequence[str]
    facts: Mapping[str, Any]
    metric: str = "rare_tiles_picked"

    def __post_init__(self) -> None:
        self.z: Floats = normalize(embed(self.backbone.image, InMemory(self.pictures), self.run), dim=-1).numpy()

    def measure(self, arm: Arm) -> Measured:
        """Pick tiles of the wall of every seed."""
        return over_seeds(lambda run: self._picked(arm, run), self.run, self.seeds, draws=True)

    def _picked(self, arm: Arm, run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        wall = self.wall(run)
        order = np.random.default_rng(run.integer("permuted tiles")).permutation(len(wall))
        shown = wall[order] if arm.spoil == "permuted" else wall
        chosen = np.array(self._chosen(shown, run))
        if arm.system == RANDOM:
            chosen = np.random.default_rng(run.integer("random tiles")).permutation(len(wall))[: len(chosen)]
        elif arm.system == BY_WORDS:
            chosen = np.array(self._chosen(shown, run, PathGen(top=len(chosen), sampled=0, limit=1.0)))
        rare = np.flatnonzero(self.labels[wall] >= COMMON)
        near = (self.z[wall] @ self.z[wall[chosen]].T).max(axis=1)
        others = {"picked": float(len(chosen)), COVERAGE: float(near.mean())}
        return np.isin(rare, chosen).astype(float), others, {COVERAGE: near.astype(float)}

    def wall(self, run: Run) -> NDArray[np.int64]:
        """Return the photographs of a wall: all of the common kinds, and few of each rare one, drawn by the seed."""
        rng = np.random.default_rng(run.integer("wall"))
        common = np.flatnonzero(self.labels < COMMON)
        rare = [rng.permutation(np.flatnonzero(self.labels == k))[:FEW] for k in range(COMMON, COMMON + RARE)]
        return np.concatenate([common, *rare])

    def _chosen(self, shown: NDArray[np.int64], run: Run, system: PathGen | None = None) -> list[int]:
        wall = Wall("wall")
        pieces = tuple(Piece(wall, str(i), self.pictures[p]) for i, p in enumerate(shown.tolist()))
        with tempfile.TemporaryDirectory() as folder:
            phrases = Path(folder) / "phrases.txt"
            phrases.write_text("\n".join(f"a photo of a {name}" for name in self.names[COMMON:]), encoding="utf-8")
            chosen = system or PathGen(top=TOP, sampled=SAMPLED)
            curator = PathGen(str(phrases), chosen.top, chosen.sampled, limit=chosen.limit)
            plan = curator.plan(Kit({"main": self.backbone}), Captions(pieces), run)
        return [int(name) for tiles in plan.tiles.values() for name, _ in tiles]


def open_wall(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> WallBench:
    """Open a labelled set; its first classes are the common kinds, and the next ones the rare ones."""
    data = open_data(present(name.removeprefix("wall:")), need="classes")
    table = data.split("train")
    labels = np.asarray(table.columns["label"].values)
    kept = [i for k in range(COMMON + RARE) for i in np.flatnonzero(labels == k)[: None if k < COMMON else 10].tolist()]
    pictures = [table.items[i].resize((256, 256), Image.Resampling.BICUBIC) for i in kept]
    sizes = {"items": len(kept), "common_kinds": COMMON, "rare_kinds": RARE}
    about = {"data_hash": hash_of(table.take(kept).items), **sizes}
    return WallBench(backbone, run, seeds, pictures, labels[kept], tuple(map(tidy, data.classes)), about)
