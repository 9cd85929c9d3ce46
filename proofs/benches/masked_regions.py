"""The bench of OVSeg: pairs that are mined once, regions that are classified, and what is spoiled in them.

On photos the pairs are mined from captions, by proposals without weights. On scenes the regions are the true ones, so
that their classification alone is measured, by a small ViT whose mask prompts learn; their nouns are shapes, which
WordNet has as abstract, so the painter tells them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diptych.backbones.sources.load import load
from diptych.backbones.sources.proposers import load_proposer
from diptych.core import Backbone, ClassNames, Column, Evidence, Kit, MaskProposer, Proposals, Run, Segmenter, Table
from diptych.data.formats.regions import Masks
from diptych.data.labelled import LabelledData
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.sprites import SHAPES
from diptych.data.scenes.tables import Pictures
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.segment import MaskBench
from diptych.evaluation.datasets import CAPTIONED, captioned_photos, few, open_set
from diptych.evaluation.spoils import Altered
from diptych.methods.segment.ovseg import OVSeg
from diptych.metrics.segmentation import IGNORE
from diptych.nn.dense.mined_pairs import mined, named
from proofs.trial import Claim, Trial

PHOTOS, FEW, LESSONS, SHOWN = 60, 24, 80, 80
"""Captioned photos that are mined, photos with masks that are measured, and scenes of both kinds."""
SCENES = SceneRecipe(objects=(2, 3))
SIDE = 64
"""Of scenes and of the input of ``tiny``, in pixels."""


@dataclass
class RegionBench(MaskBench):
    """Photos with label maps, a proposer, and pairs that were mined before."""

    proposed: MaskProposer | None = None
    pairs: Table[Any] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        """As of any photos with label maps, and what the pairs come from."""
        assert self.pairs is not None
        nouns = {own[0] for own in self.pairs.columns["captions"].values}
        return {**super().facts, "pairs": len(self.pairs), "nouns": len(nouns), **self.more}

    def given(self, system: type[Segmenter]) -> tuple[Kit, Evidence[Any]]:
        """Return proposer and pairs, whatever the system."""
        return Kit({"main": self.backbone, "proposer": self.proposed}), Evidence(auxiliary=self.pairs)


@dataclass(frozen=True)
class TrueRegions:
    """Proposes the visible pixels of each object of known scenes.

    Args:
        masks: hash of the pixels -> (Q, H, W).
    """

    masks: Mapping[str, Tensor]
    fingerprint = "true regions of scenes"

    @classmethod
    def of(cls, *several: Scenes) -> TrueRegions:
        """Return the proposer of scenes."""
        known = {}
        for scenes in several:
            for i in range(len(scenes)):
                scene = scenes[i]
                known[_hash(Image.fromarray(scene.image))] = torch.from_numpy(scene.masks[scene.masks.any((1, 2))])
        return cls(known)

    def propose(self, image: Any, words: Any = (), /) -> Proposals:
        """Return the regions of a picture of these scenes."""
        masks = self.masks[_hash(image)].float()
        return Proposals(masks, torch.ones(len(masks)), (image.height, image.width))


def _hash(image: Image.Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def label_map(scenes: Scenes, index: int) -> np.ndarray[Any, Any]:
    """Return (S, S) uint8 positions of the shapes; the ground does not count."""
    scene = scenes[index]
    out = np.full((SIDE, SIDE), IGNORE, dtype=np.uint8)
    for mask, thing in zip(scene.masks, scene.objects, strict=True):
        out[mask] = SHAPES.index(thing.noun)
    return out


def open_mined(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> RegionBench:
    """Open photos with label maps, or "scenes", and mine the pairs."""
    return scene_regions(run, seeds) if name == "scenes" else photo_regions(name, backbone, run, seeds)


def photo_regions(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> RegionBench:
    """Open ``FEW`` photos with label maps and the pairs of ``PHOTOS`` captioned ones, on any backbone."""
    data = open_set(name, "masks")
    table = data.split("test" if "test" in data.splits else "val")
    some = replace(data, splits={"test": few(table, FEW)})
    captioned, proposer = captioned_photos(), load_proposer()
    photos = few(captioned, PHOTOS)
    pairs = mined(photos.items, named(photos), proposer, backbone, run)
    more = {"mined_from": CAPTIONED, "mined_photos": PHOTOS}
    return RegionBench(some, backbone, run, seeds, proposed=proposer, pairs=pairs, more=more)


def scene_regions(run: Run, seeds: tuple[int, ...]) -> RegionBench:
    """Open scenes with true regions; the backbone is ``tiny``."""
    backbone = load("tiny")
    lessons, shown = (Scenes(SCENES, n, 0, start) for n, start in ((LESSONS, 0), (SHOWN, LESSONS)))
    proposer = TrueRegions.of(lessons, shown)
    told = [tuple(dict.fromkeys(o.noun for o in lessons[i].objects)) for i in range(LESSONS)]
    pairs = mined(Pictures(lessons), told, proposer, backbone, run, side=SIDE)
    masks = Column("mask", Masks(tuple(range(SHOWN)), lambda i: label_map(shown, i)))
    data = LabelledData("scenes", SHAPES, {"test": Table(Pictures(shown), {"mask": masks})})
    names = ClassNames(SHAPES, ("a photo of a {}.",))
    more = {"backbone": "tiny", "mined_from": "scenes", "mined_photos": LESSONS, "regions": "true"}
    return RegionBench(data, backbone, run, seeds, names, proposed=proposer, pairs=pairs, more=more)


def _told(evidence: Evidence[Any], captions: list[Any]) -> Evidence[Any]:
    assert evidence.auxiliary is not None
    return replace(
        evidence, auxiliary=Table(evidence.auxiliary.items, {"captions": Column("captions", tuple(captions))})
    )


def shuffled(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Deal the nouns of all pairs anew: as many of each, and none belongs to its region."""
    assert evidence.auxiliary is not None
    own = list(evidence.auxiliary.columns["captions"].values)
    order = np.random.default_rng(run.integer("shuffled nouns")).permutation(len(own))
    return classes, _told(evidence, [own[i] for i in order])


def renamed(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Give each noun the name of another along one random cycle: regions of one noun stay together."""
    assert evidence.auxiliary is not None
    own = list(evidence.auxiliary.columns["captions"].values)
    words = np.random.default_rng(run.integer("renamed nouns")).permutation(sorted({w for (w,) in own})).tolist()
    other = dict(zip(words, np.roll(words, 1).tolist(), strict=True))
    return classes, _told(evidence, [(other[w],) for (w,) in own])


@dataclass(frozen=True)
class InvertedMasks(OVSeg):
    """Tunes on masks that say the opposite: prompts stand where the region is."""

    def shown(self, mask: Tensor) -> Tensor:
        """Return the opposite mask."""
        return ~mask


def crops_only(system: Any, run: Run) -> Any:
    """Return a system that reads crops alone, at the size of scenes."""
    return replace(system, share=1.0, side=SIDE)


def inverted(system: Any, run: Run) -> Any:
    """Return the same with inverted masks in the tuning."""
    return InvertedMasks(**vars(crops_only(system, run)))


PROMPTS = Arm("ovseg", "prompts", spoil=Altered(crops_only))
"""Mask prompts of the tower of ``tiny``, on scenes."""
ON_PHOTOS, ON_SCENES = ("msrc_small", "coco_mini"), ("scenes",)
_DEALT = "nouns dealt anew"
OVSEG = Trial(
    (
        Claim("ovseg", variant="plain", on=ON_PHOTOS),
        Claim(_DEALT, base=Arm("ovseg", spoil=shuffled), on=ON_PHOTOS),
        Claim("ovseg", own=PROMPTS, base=Arm("ovseg", "plain", spoil=Altered(crops_only)), on=ON_SCENES),
        Claim(_DEALT, own=PROMPTS, base=replace(PROMPTS, spoil=Altered(crops_only, shuffled)), on=ON_SCENES),
    ),
    controls=(
        Claim(
            _DEALT, name="other nouns", own=Arm("ovseg", spoil=renamed), base=Arm("ovseg", spoil=shuffled), on=ON_PHOTOS
        ),
        Claim(
            _DEALT,
            name="other nouns",
            own=replace(PROMPTS, spoil=Altered(crops_only, renamed)),
            base=replace(PROMPTS, spoil=Altered(crops_only, shuffled)),
            on=ON_SCENES,
        ),
    ),
    beside={
        "maskclip": Claim("maskclip", on=ON_PHOTOS),
        "inverted masks": Claim(
            "inverted masks", own=PROMPTS, base=replace(PROMPTS, spoil=Altered(inverted)), on=ON_SCENES
        ),
    },
    bench=open_mined,
)
"""The proof."""
