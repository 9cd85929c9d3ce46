from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import ClassNames, Column, DataError, Evidence, Kit, MissingEvidence, MissingHook, Run, Table
from diptych.data.labelled import NamedTable
from diptych.methods.segment.fc_clip import FCCLIP, FittedFCCLIP, Masked
from diptych.nn.dense.label_maps import label_map
from diptych.nn.dense.mask_queries import MaskLayout, MaskQueries
from tests.support.backbone import SmallBackbone
from tests.support.dense_colours import ColourDense, DenseColours, halves
from tests.support.pictures import Pictures
from tests.support.refused import refused

NAMES = ClassNames(("red", "green", "blue", "yellow"), ("{}",))
SMALL = FCCLIP(side=40, crop=40, layout=MaskLayout(queries=6, encoder=1, decoder=1, points=64), steps=30, rate=3e-3)
KIT = Kit({"main": DenseColours()})


def noisy(left: str, right: str, seed: int) -> Image.Image:
    pixels = np.asarray(halves(left, right)) + np.random.default_rng(seed).normal(0, 10, (40, 60, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def train() -> NamedTable:
    """Photos of red, green and blue; blue is void in the masks, and its name unknown."""
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    known = np.array([0, 1, 255], np.uint8)
    masks = tuple(known[np.where(np.arange(60) < 30, a, b)] * np.ones((40, 1), np.uint8) for a, b in pairs)
    photos = tuple(noisy(NAMES.names[a], NAMES.names[b], i) for i, (a, b) in enumerate(pairs))
    return NamedTable(Pictures(photos), {"mask": Column("mask", masks)}, ("red", "green"))


def fit(method: FCCLIP = SMALL, seed: int = 0, **evidence: Any) -> FittedFCCLIP:
    return method.fit(KIT, NAMES, Evidence(**{"train": train(), **evidence}), Run(seed=seed))


@pytest.fixture(scope="module")
def fitted() -> FittedFCCLIP:
    return fit()


def test_a_trained_colour_is_found(fitted: FittedFCCLIP) -> None:
    assert fitted.seen == (True, True, False, False)
    (found,) = fitted.regions(Pictures((noisy("red", "blue", 99),)), Run())
    assert (label_map(found)[:, :25] == 0).float().mean() > 0.8


def test_the_frozen_classifier_names_what_the_trained_one_does_not_know(fitted: FittedFCCLIP) -> None:
    inside, outside = torch.tensor([[0.7, 0.1, 0.1, 0.1]]), torch.tensor([[0.05, 0.05, 0.85, 0.05]])
    one = torch.ones(1, 10, 15)
    seen = Masked(inside, outside, torch.tensor([True]), torch.tensor([0.0]), one, (40, 60))

    def named(fitted: FittedFCCLIP, seen: Masked) -> str:
        return NAMES.names[int(label_map(fitted.mixed(seen))[20, 30])]

    assert named(fitted, seen) == "blue"
    assert named(replace(fitted, method=replace(SMALL, alpha=0.0, beta=0.0)), seen) == "red"
    assert named(fitted, replace(seen, held=torch.tensor([False]))) == "red"


def test_a_mask_without_a_cell_is_named_by_both_classifiers_as_by_the_authors_for_convnexts(
    fitted: FittedFCCLIP,
) -> None:
    inside, outside = torch.tensor([[0.7, 0.1, 0.1, 0.1]]), torch.tensor([[0.25, 0.25, 0.4, 0.1]])
    masks, weights = torch.ones(1, 10, 15), torch.tensor([0.4, 0.4, 0.8, 0.8])
    seen = Masked(inside, outside, torch.tensor([False]), torch.tensor([0.2]), masks, (40, 60))
    both = replace(fitted, method=replace(SMALL, empty="both"))
    p = inside ** (1 - weights) * outside**weights
    torch.testing.assert_close(both.mixed(seen).scores.values.exp(), 0.8 * p / p.sum())
    torch.testing.assert_close(fitted.mixed(seen).scores.values.exp(), 0.8 * inside)


def test_scores_by_loops(fitted: FittedFCCLIP) -> None:
    """From what one pass says to log-probabilities, in NumPy."""
    photos = Pictures((noisy("green", "blue", 5),))
    (seen,), (found,) = fitted.passes(photos, Run()), fitted.regions(photos, Run())
    inside, outside = seen.inside.double().numpy(), seen.outside.double().numpy()
    for q in range(6):
        a = np.array([0.4, 0.4, 0.8, 0.8]) if seen.held[q] else np.zeros(4)
        p = inside[q] ** (1 - a) * outside[q] ** a
        p *= (1 - float(seen.void[q])) / p.sum()
        np.testing.assert_allclose(found.scores.values[q].exp().numpy(), p, rtol=1e-3, atol=1e-6)
    assert found.masks is not None
    torch.testing.assert_close(found.masks, seen.masks.sigmoid())
    torch.testing.assert_close(seen.inside.sum(1), torch.ones(6))


def test_pooled_and_cropped_masks_are_the_same_masks(fitted: FittedFCCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def crops(backbone: Any, x: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        asked.append(tuple(masks.shape))
        return torch.nn.functional.normalize(torch.ones(len(masks), 4), dim=-1)

    monkeypatch.setattr("diptych.methods.segment.fc_clip.crop_embeddings", crops)
    photos = Pictures((noisy("green", "red", 5),))
    (pooled,) = fitted.passes(photos, Run())
    (cropped,) = replace(fitted, method=replace(fitted.method, classify="crops")).passes(photos, Run())
    assert asked == [(6, 40, 60)]
    torch.testing.assert_close(cropped.masks, pooled.masks)
    assert not torch.allclose(cropped.outside, pooled.outside)


def test_a_mask_smaller_than_a_cell_is_cut_out_and_not_pooled(
    fitted: FittedFCCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = torch.full((1, 6, 10, 15), -9.0)
    masks[0, 0, 4, 7] = 9.0  # four pixels wide, where a cell of the last map has 20, and between their centres
    forward = MaskQueries.forward

    def small(net: MaskQueries, maps: Any) -> Any:
        return [replace(layer, masks=masks) for layer in forward(net, maps)]

    monkeypatch.setattr(MaskQueries, "forward", small)
    monkeypatch.setattr(
        ColourDense, "maps", lambda dense, x: [torch.nn.functional.avg_pool2d(x, min(20, *x.shape[2:]))]
    )
    monkeypatch.setattr(
        "diptych.methods.segment.fc_clip.crop_embeddings", lambda backbone, x, inside: torch.ones(len(inside), 4)
    )
    photos = Pictures((noisy("green", "red", 5),))
    (pooled,) = fitted.passes(photos, Run())
    (cropped,) = replace(fitted, method=replace(fitted.method, classify="crops")).passes(photos, Run())
    assert pooled.held.tolist() == [False] * 6
    assert cropped.held.tolist() == [True] + [False] * 5


def test_other_classes_have_the_same_masks_and_other_marks(fitted: FittedFCCLIP) -> None:
    other = fitted.for_classes(ClassNames(("Green", "pink"), ("{}",), things=(True, False)), Run())
    photos = Pictures((noisy("green", "red", 5),))
    (old,), (new,) = fitted.regions(photos, Run()), other.regions(photos, Run())
    assert other.seen == (True, False)
    assert torch.equal(old.masks, new.masks)  # type: ignore[arg-type]
    assert (new.scores.values.shape, new.things) == ((6, 2), (True, False))


def test_panoptic_maps_teach_objects() -> None:
    masks = [np.asarray(m).astype(np.int32) for m in train().columns["mask"].values]
    truth = tuple(np.stack([m, np.arange(40)[:, None] // 20 + 0 * m], axis=-1) for m in masks)  # two of each, stacked
    table = NamedTable(train().items, {"panoptic": Column("panoptic", truth)}, ("red", "green"))
    found = fit(replace(SMALL, steps=2), train=table)
    assert not torch.equal(found.state["void"], fit(replace(SMALL, steps=2)).state["void"])


def test_the_seed_decides() -> None:
    one, again, other = (fit(replace(SMALL, steps=2), seed).state["void"] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_what_is_missing_or_wrong_is_named() -> None:
    with pytest.raises(MissingEvidence, match="label maps"):
        fit(train=None)
    with pytest.raises(MissingHook, match="small"):
        SMALL.fit(Kit({"main": SmallBackbone()}), NAMES, Evidence(train=train()), Run())
    with pytest.raises(DataError, match="no masks"):
        fit(train=Table(train().items))
    with pytest.raises(DataError, match="label 1, and there are 1 classes"):
        fit(train=replace(train(), classes=("red",)))


def test_values_outside_their_range_are_refused() -> None:
    refused(FCCLIP, {"alpha": 1.1}, {"beta": -0.1}, {"side": 0}, {"crop": 0}, {"zoom": 0.5}, {"steps": 0})
    refused(FCCLIP, {"batch": 0}, {"rate": 0.0}, {"classify": "both"})
