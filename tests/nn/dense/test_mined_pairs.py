from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from diptych.core import Column, DataError, Proposals, Run, Table
from diptych.nn.dense.masked_crops import CroppedRegions
from diptych.nn.dense.mined_pairs import ensemble, mined, named, pair_loss, surest
from tests.support.dense_colours import halves
from tests.support.pictures import Pictures
from tests.support.regions import Colours, Halves


def test_pairs_are_the_best_regions_of_nouns() -> None:
    """On the backbone that knows colours, which are told as nouns."""
    photos = Pictures((halves("red", "blue"), halves("blue", "red"), halves("red", "red")))
    pairs = mined(photos, (("red", "blue"), ("red",), ()), Halves(), Colours(), Run(), side=32)
    assert pairs.columns["captions"].values == (("red",), ("blue",), ("red",))
    assert isinstance(pairs.items, CroppedRegions)
    cells = [(n, mask.tolist()) for n, mask in pairs.items.rows]
    assert cells == [(0, [[True, False]]), (0, [[False, True]]), (1, [[False, True]])]


def test_the_surest_regions_come_first_and_equal_ones_in_their_order() -> None:
    masks = torch.arange(4.0).reshape(4, 1, 1) / 4
    found = Proposals(masks, torch.tensor([0.2, 0.9, 0.5, 0.9]), (4, 4))
    assert surest(found, 3)[0].flatten().tolist() == [0.25, 0.75, 0.5]
    assert surest(found, 3)[1].tolist() == pytest.approx([0.9, 0.9, 0.5])
    assert torch.equal(surest(Proposals(masks, torch.ones(4), (4, 4)), 4)[0], masks)


class LargestFirst(Halves):
    """The whole photo, of which it is unsure, before the halves."""

    masks, scores = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([0.1, 0.9, 0.8])


def test_a_proposer_that_lists_the_largest_first_is_asked_for_its_surest() -> None:
    pairs = mined(Pictures((halves("red", "blue"),)), (("red",),), LargestFirst(), Colours(), Run(), side=32, regions=1)
    assert isinstance(pairs.items, CroppedRegions)
    assert [mask.tolist() for _, mask in pairs.items.rows] == [[[True, False]]]


def captioned(*texts: str) -> Table[Any]:
    photos = Pictures(tuple(halves("red", "blue") for _ in texts))
    return Table(photos, {"captions": Column("captions", tuple((t, "A second caption with a horse.") for t in texts))})


def test_the_first_caption_counts() -> None:
    assert named(captioned("A dog with two cats.", "Nothing at all.")) == [("dog", "cat"), ()]


def test_captions_that_say_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="give a column 'caption'"):
        named(Table(captioned("A dog.").items))
    with pytest.raises(DataError, match="name nothing"):
        named(captioned("Very blue."))


def test_the_loss_by_loops_leaves_out_equal_nouns() -> None:
    g = torch.Generator().manual_seed(0)
    z, t = torch.randn(4, 3, generator=g), F.normalize(torch.randn(3, 3, generator=g), dim=-1)
    noun = torch.tensor([0, 1, 0, 2])
    logits = 5 * F.normalize(z, dim=-1) @ t[noun].T
    total = 0.0
    for rows in (logits, logits.T):
        for i in range(4):
            others = [j for j in range(4) if noun[j] != noun[i]] + [i]
            total += float(rows[i, others].logsumexp(0) - rows[i, i]) / 8
    assert float(pair_loss(z, t[noun], torch.tensor(5.0), noun)) == pytest.approx(total, rel=1e-5)


def test_the_ensemble_is_a_product_of_powers() -> None:
    crops, proposer, sure = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.4, 0.6]]), torch.tensor([0.5])
    p = ensemble(crops.log(), proposer.log(), sure, 0.25).exp()
    want = [[0.5 * 0.4**0.75 * 0.9**0.25, 0.5 * 0.6**0.75 * 0.1**0.25]]
    torch.testing.assert_close(p, torch.tensor(want))
