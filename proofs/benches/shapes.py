"""Proof of systems for point clouds: furniture with icons, in classes and without.

Objects without a class give pairs of an icon and points; those with one are test clouds of zero-shot, and train and val
clouds of few shots. No object is in two of them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Column, Evidence, Kit, Run, Samples, Table, Texts
from diptych.data.images import open_image
from diptych.data.joined import Joined
from diptych.data.named_sets import present
from diptych.data.shapes import Shape, Shapes
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import Arm, Floats, Measured, over_seeds
from diptych.evaluation.boards.extend import shots
from diptych.features.clips import image_head
from diptych.features.depth_views import pooled_views
from diptych.features.embed import embed
from diptych.methods.extend.clip2point import CLIP2Point
from diptych.nn.spaces.view_adapters import DualPathEncoder, dual_path
from proofs.trial import PlainBench, hash_of

ICON_CAMERA = (20.0, 30.0)
"""Where the icons were taken from: of a grid of cameras 15 degrees apart the one whose silhouettes of the points cover
those of 60 icons best; the icons are in perspective, so that no camera here fits them whole."""
CLASSED = "acc1_classed"
POINTS = 1024


@dataclass(frozen=True)
class Furniture:
    """Objects.

    Args:
        pairs: without classes, with icons.
        train, val: with a column "captions".
        texts: of the K classes.
    """

    pairs: Shapes
    train: Table[Any]
    val: Table[Any]
    texts: tuple[str, ...]


def read_furniture(root: Path) -> Furniture:
    """Read points, icons and classes of a folder with objects.csv, points.npz and icons."""
    with (root / "objects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(root / "points.npz") as arrays:
        points = {name: arrays[name] for name in arrays.files}

    def shapes(split: str) -> Shapes:
        chosen = [r for r in rows if r["split"] == split]
        clouds = [points[r["array"].split(":")[1]][int(r["row"])][:POINTS].astype(np.float32) for r in chosen]
        icons = [open_image(root / r["icon"]) for r in chosen]
        shapes = [Shape(p, icon, ICON_CAMERA) for p, icon in zip(clouds, icons, strict=True)]
        return Shapes(tuple(r["id"] for r in chosen), shapes)

    def table(split: str) -> Table[Any]:
        texts = [image_of(r["class_name"]) for r in rows if r["split"] == split]
        return Table(shapes(split), {"captions": Column("captions", texts)})

    texts = tuple(image_of(name) for name in sorted({r["class_name"] for r in rows if r["class_name"]}))
    return Furniture(shapes("unclassed"), table("train"), table("val"), texts)


def image_of(name: str) -> str:
    """Return the text of a class, in the words of CLIP2Point."""
    return f"image of a {tidy(name)}."


def without_pairs(evidence: Evidence[Any], run: Run) -> Evidence[Any]:
    """Return the evidence of a system that is not pre-trained."""
    return replace(evidence, unlabelled=None)


def other_icons(evidence: Evidence[Any], run: Run) -> Evidence[Any]:
    """Return the evidence with the icons of other objects: the control of pre-training."""
    pairs = evidence.unlabelled
    assert isinstance(pairs, Shapes)
    order = np.random.default_rng(run.integer("icons")).permutation(len(pairs))
    dealt = [replace(shape, picture=pairs.shapes[j].picture) for shape, j in zip(pairs.shapes, order, strict=True)]
    return replace(evidence, unlabelled=Shapes(pairs.names, dealt))


def other_labels(evidence: Evidence[Any], run: Run) -> Evidence[Any]:
    """Return the evidence with shuffled labels of the shots: the control of adapters."""
    table = evidence.train
    assert table is not None
    captions = table.columns["captions"].values
    order = np.random.default_rng(run.integer("labels")).permutation(len(captions))
    return replace(evidence, train=Table(table.items, {"captions": Column("captions", [captions[i] for i in order])}))


@dataclass(frozen=True)
class ShapeBench(PlainBench):
    """How systems for point clouds are measured: hits on val; without shots also on all objects with a class."""

    data: Furniture
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    facts: Mapping[str, Any]
    metric: str = "acc1"

    def measure(self, arm: Arm) -> Measured:
        """Fit heads on the pairs and adapters on ``arm.shots`` clouds per class, changed by ``arm.spoil``."""

        def once(run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
            train = shots(self.data.train, arm.shots, run) if arm.shots else None
            evidence: Evidence[Any] = Evidence(train=train, unlabelled=self.data.pairs)
            if arm.spoil is not None:
                evidence = arm.spoil(evidence, run)
            space = arm.system.fit(Kit({"main": self.backbone}), evidence, run)
            w = normalize(embed(space.text, Texts(self.data.texts), run), dim=-1)

            def hits(table: Table[Any]) -> Floats:
                v = normalize(self._vectors(arm.system, space, table.items, run), dim=-1)
                answers = [self.data.texts[k] for k in (v @ w.T).argmax(1).tolist()]
                right: NDArray[np.bool_] = np.array(answers) == np.array(table.columns["captions"].values)
                return right.astype(np.float64)

            val = hits(self.data.val)
            parts = {} if arm.shots else {CLASSED: np.concatenate([hits(self.data.train), val])}
            return val, {}, parts

        return over_seeds(once, self.run, self.seeds, draws=True)

    def _vectors(self, method: CLIP2Point, space: Any, items: Samples[Any], run: Run) -> Tensor:
        """Return (N, D) embeddings by trained heads: the towers, which are frozen, see each view once for all arms."""
        pooled = pooled_views(self.backbone, method.cameras, method.radius, items, run)
        with torch.no_grad():
            depth, image = (image_head(s)[1](pooled).float() for s in (space.base, self.backbone))
            if isinstance(space.image, DualPathEncoder):
                return dual_path(space.image.adapters, depth, image).cpu()
            return normalize(depth, dim=-1).mean(1).cpu()


def open_shapes(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> ShapeBench:
    """Open furniture; see the module."""
    data = read_furniture(present(name, "points.npz"))
    classed = Joined((data.train.items, data.val.items))
    sizes = {"items": len(data.val), "classed": len(classed), "pairs": len(data.pairs), "classes": len(data.texts)}
    facts = {"data_hash": hash_of(data.pairs, classed), **sizes}
    return ShapeBench(data, backbone, run, seeds, facts)
