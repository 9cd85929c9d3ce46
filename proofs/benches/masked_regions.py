"""The bench of OVSeg: pairs that are mined once, regions that are classified, and what is spoiled in them.

On photos the pairs are mined from captions, by proposals without weights. On scenes the regions are the true ones, so
that their classification alone is measured, by a small ViT whose mask prompts learn; their nouns are shapes, which
WordNet has as abstract, so the painter tells them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diptych.backbones.sources.load import load
from diptych.backbones.sources.proposers import load_proposer
from diptych.core import Backbone, ClassNames, Column, Evidence, Kit, MaskProposer, Proposals, Run, Table
from diptych.data.scenes.compose import Scenes
from diptych.data.scenes.tables import Pictures
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.segment import MaskBench
from diptych.evaluation.datasets import CAPTIONED, captioned_photos, few, open_set
from diptych.evaluation.spoils import Altered
from diptych.methods.segment.ovseg import OVSeg
from diptych.nn.dense.mined_pairs import mined, named
from proofs.scenes.label_maps import NAMES, SCENES, SHOWN, SIDE, labelled_scenes
from proofs.trial import Claim, Trial

PHOTOS, FEW, LESSONS = 60, 24, 80
"""Captioned photos that are mined, photos with masks that are measured, and scenes whose pairs are mined."""


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


def open_mined(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> MaskBench:
    """Open photos with label maps, or "scenes", and mine the pairs."""
    return scene_regions(run, seeds) if name == "scenes" else photo_regions(name, backbone, run, seeds)


def photo_regions(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> MaskBench:
    """Open ``FEW`` photos with label maps and the pairs of ``PHOTOS`` captioned ones, on any backbone."""
    data = open_set(name, "masks")
    table = data.split("test" if "test" in data.splits else "val")
    some = replace(data, splits={"test": few(table, FEW)})
    captioned, proposer = captioned_photos(), load_proposer()
    photos = few(captioned, PHOTOS)
    pairs = mined(photos.items, named(photos), proposer, backbone, run)
    more = {"mined_from": CAPTIONED, "mined_photos": PHOTOS}
    return MaskBench(some, backbone, run, seeds, **_learnt_from(pairs, proposer, backbone, more))


def scene_regions(run: Run, seeds: tuple[int, ...]) -> MaskBench:
    """Open scenes with true regions; the backbone is ``tiny``."""
    backbone = load("tiny")
    lessons, shown = (Scenes(SCENES, n, 0, start) for n, start in ((LESSONS, 0), (SHOWN, LESSONS)))
    proposer = TrueRegions.of(lessons, shown)
    names = [tuple(dict.fromkeys(o.noun for o in lessons[i].objects)) for i in range(LESSONS)]
    pairs = mined(Pictures(lessons), names, proposer, backbone, run, side=SIDE)
    more = {"backbone": "tiny", "mined_from": "scenes", "mined_photos": LESSONS, "regions": "true"}
    learnt = _learnt_from(pairs, proposer, backbone, more)
    return MaskBench(labelled_scenes(shown), backbone, run, seeds, NAMES, **learnt)


def _learnt_from(
    pairs: Table[Any], proposer: MaskProposer, backbone: Backbone, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return proposer and pairs for every system, and what the result says of the pairs."""
    nouns = {texts[0] for texts in pairs.columns["captions"].values}
    kit = Kit({"main": backbone, "proposer": proposer})
    return {
        "prepared": (kit, Evidence(auxiliary=pairs)),
        "about": {"pairs": len(pairs), "nouns": len(nouns), **more},
    }


def _with_pairs(evidence: Evidence[Any], captions: list[Any]) -> Evidence[Any]:
    assert evidence.auxiliary is not None
    return replace(
        evidence, auxiliary=Table(evidence.auxiliary.items, {"captions": Column("captions", tuple(captions))})
    )


def shuffled(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Deal the nouns of all pairs anew: as many of each, and none belongs to its region."""
    assert evidence.auxiliary is not None
    captions = list(evidence.auxiliary.columns["captions"].values)
    order = np.random.default_rng(run.integer("shuffled nouns")).permutation(len(captions))
    return classes, _with_pairs(evidence, [captions[i] for i in order])


def renamed(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Give each noun the name of another along one random cycle: regions of one noun stay together."""
    assert evidence.auxiliary is not None
    captions = list(evidence.auxiliary.columns["captions"].values)
    words = np.random.default_rng(run.integer("renamed nouns")).permutation(sorted({w for (w,) in captions})).tolist()
    other = dict(zip(words, np.roll(words, 1).tolist(), strict=True))
    return classes, _with_pairs(evidence, [(other[w],) for (w,) in captions])


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
        Claim("ovseg", arm=PROMPTS, base=Arm("ovseg", "plain", spoil=Altered(crops_only)), on=ON_SCENES),
        Claim(_DEALT, arm=PROMPTS, base=replace(PROMPTS, spoil=Altered(crops_only, shuffled)), on=ON_SCENES),
    ),
    controls=(
        Claim(
            _DEALT, name="other nouns", arm=Arm("ovseg", spoil=renamed), base=Arm("ovseg", spoil=shuffled), on=ON_PHOTOS
        ),
        Claim(
            _DEALT,
            name="other nouns",
            arm=replace(PROMPTS, spoil=Altered(crops_only, renamed)),
            base=replace(PROMPTS, spoil=Altered(crops_only, shuffled)),
            on=ON_SCENES,
        ),
    ),
    beside={
        "maskclip": Claim("maskclip", on=ON_PHOTOS),
        "inverted masks": Claim(
            "inverted masks", arm=PROMPTS, base=replace(PROMPTS, spoil=Altered(inverted)), on=ON_SCENES
        ),
    },
    bench=open_mined,
)
"""The proof."""
