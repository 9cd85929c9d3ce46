from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.mask_models.ranked_cells import RankedCells, RegionScorer, apart, candidates, load_scorer
from diptych.backbones.sources.proposers import load_proposer
from diptych.backbones.sources.vision import load_vision
from diptych.core import MaskProposer, NotAvailable, UsageError
from tests.support.mask_models import quarters


@pytest.fixture(scope="module")
def shipped() -> RankedCells:
    found = load_proposer("ranked-cells")
    assert isinstance(found, RankedCells)
    return found


def photo() -> Image.Image:
    picture = quarters().resize((240, 160), Image.Resampling.NEAREST)
    picture.paste((120, 60, 20), (80, 60, 140, 120))
    return picture


def test_the_things_of_a_picture_are_among_the_best(shipped: RankedCells) -> None:
    proposals = shipped.propose(photo())
    assert isinstance(shipped, MaskProposer)
    assert proposals.size == (160, 240)
    assert (proposals.scores[:-1] >= proposals.scores[1:]).all()
    assert proposals.scores.min() >= 0
    assert proposals.scores.max() <= 1
    truth = torch.zeros(160, 240)
    truth[60:120, 80:140] = 1
    shown = torch.nn.functional.interpolate(proposals.masks[None], (160, 240), mode="bilinear")[0] >= 0.5
    iou = (shown * truth).flatten(1).sum(1) / torch.maximum(shown.float(), truth).flatten(1).sum(1)
    assert iou[:10].max() > 0.8


def test_no_two_proposals_overlap_more_than_is_said(shipped: RankedCells) -> None:
    few = RankedCells(shipped.encoder, shipped.scorer, overlap=0.3, count=12)
    m = few.propose(photo()).masks.flatten(1)
    both = m @ m.T
    iou = both / (m.sum(1)[:, None] + m.sum(1)[None] - both)
    assert len(m) <= 12
    assert (iou - torch.eye(len(m))).max() <= 0.3
    assert few.fingerprint != shipped.fingerprint


def test_regions_are_those_of_three_trees(shipped: RankedCells) -> None:
    found = candidates(photo(), shipped.encoder, shipped.scorer, side=24)
    assert found.masks.shape[1:] == (16, 24)
    assert found.merges[:, 3:].sum(1).eq(1).all()
    assert (found.merges[:, 3:].sum(0) > 5).all()
    assert (found.merges[:, 0] < 1).all()  # a merge is smaller than the one above
    assert found.merges[:, 2].max() >= 1  # the root, by whose height all are divided
    facts = found.facts()
    assert facts.shape == (len(found.masks), len(shipped.scorer.get_buffer("facts_mean")))
    rows = torch.tensor([0, len(facts) - 1])
    assert torch.allclose(found.facts(rows), facts[rows], atol=1e-4)


def test_of_masks_that_overlap_the_first_stays() -> None:
    m = torch.from_numpy(np.random.default_rng(0).random((30, 4, 5)) < 0.5).float()
    kept = apart(m, 0.41, 8).tolist()
    assert kept[0] == 0
    assert len(kept) <= 8
    for i in range(30):
        over = [float((m[i] * m[j]).sum() / torch.maximum(m[i], m[j]).sum()) for j in kept if j < i]
        if i <= kept[-1]:
            assert (i in kept) == all(o <= 0.41 for o in over)


def test_wrong_settings_and_absent_weights_are_named(tmp_path: Path) -> None:
    space, scorer = load_vision("tiny"), RegionScorer()
    for wrong in ({"count": 0}, {"overlap": 1.5}, {"side": 2}, {"pixels": 1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            RankedCells(space, scorer, **wrong)  # type: ignore[arg-type]
    with pytest.raises(NotAvailable, match="no weights"):
        load_scorer(tmp_path / "none.safetensors")
