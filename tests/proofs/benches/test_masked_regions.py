from __future__ import annotations

from typing import Any

import numpy as np
import torch

from diptych.core import ClassNames, Column, Evidence, Run, Table, Texts
from diptych.data.scenes.compose import Scenes
from diptych.data.scenes.sprites import SHAPES
from diptych.data.scenes.tables import Pictures
from diptych.methods.segment.ovseg import OVSeg
from diptych.metrics.segmentation import IGNORE
from proofs.benches import masked_regions as proof
from proofs.scenes.label_maps import label_map

NAMES = ClassNames(("cat",))


def pairs(*nouns: str) -> Evidence[Any]:
    captions = Column("captions", tuple((n,) for n in nouns))
    return Evidence(auxiliary=Table(Texts(tuple(map(str, range(len(nouns))))), {"captions": captions}))


def told(evidence: Evidence[Any]) -> list[str]:
    assert evidence.auxiliary is not None
    return [own[0] for own in evidence.auxiliary.columns["captions"].values]


def test_true_regions_cover_what_the_label_map_says() -> None:
    scenes = Scenes(proof.SCENES, 2, seed=5)
    proposals = proof.TrueRegions.of(scenes).propose(Pictures(scenes)[1])
    labels = label_map(scenes, 1)
    assert ((labels != IGNORE) == proposals.masks.amax(0).bool().numpy()).all()
    nouns = [o.noun for o in scenes[1].objects]
    assert set(np.unique(labels[labels != IGNORE])) <= {SHAPES.index(n) for n in nouns}


def test_dealt_nouns_are_as_many_and_other_nouns_stay_together() -> None:
    own = ["dog", "dog", "cat", "boat", "boat", "boat"] * 3
    dealt = told(proof.shuffled(NAMES, pairs(*own), Run(seed=1))[1])
    assert dealt != own
    assert sorted(dealt) == sorted(own)
    other = told(proof.renamed(NAMES, pairs(*own), Run(seed=1))[1])
    assert len(set(zip(own, other, strict=True))) == 3  # one other name a noun
    assert all(a != b for a, b in zip(own, other, strict=True))


def test_inverted_masks_say_the_opposite() -> None:
    mask = torch.tensor([[True, False]])
    spoiled = proof.inverted(OVSeg(), Run())
    assert isinstance(spoiled, proof.InvertedMasks)
    assert torch.equal(spoiled.shown(mask), ~mask)
    assert (spoiled.share, spoiled.side) == (1.0, proof.SIDE)


def test_photos_are_chosen_by_their_content() -> None:
    values = tuple(map(str, range(20)))
    chosen, turned = (proof.few(Table(Texts(order)), 5).items for order in (values, values[::-1]))
    assert {chosen[i] for i in range(5)} == {turned[i] for i in range(5)}
