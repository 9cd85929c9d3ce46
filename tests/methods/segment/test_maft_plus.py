from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diptych.backbones.released import table
from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Kit,
    MissingEvidence,
    MissingHook,
    Run,
    Table,
)
from diptych.core.settings import with_settings
from diptych.data.labelled import NamedTable
from diptych.data.pixels import normalise
from diptych.methods.segment.maft_plus import FittedMAFTPlus, MAFTPlus
from diptych.nn.dense.label_maps import label_map
from diptych.nn.dense.mask_classes import shortest_edge
from diptych.nn.dense.mask_queries import MaskLayout, four_maps
from diptych.nn.dense.mask_training import words_of
from diptych.nn.dense.mask_tuning import TunedMasks
from tests.support.backbone import SmallBackbone
from tests.support.dense_colours import halves
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.small_clip import small_clip

NAMES = ClassNames(("red barn", "cat", "dog"), ("a {}.",))
SMALL = MAFTPlus(
    side=64, crop=64, layout=MaskLayout(queries=4, encoder=1, decoder=1, points=16), width=8, heads=2, steps=2, tuning=2
)


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "convnext", "convnext")


def train() -> NamedTable:
    masks = tuple(np.where(np.arange(60) < 30, a, b) * np.ones((40, 1), np.uint8) for a, b in ((0, 1), (1, 0)))
    photos = Pictures((halves("red", "blue"), halves("blue", "red")))
    return NamedTable(photos, {"mask": Column("mask", tuple(m.astype(np.uint8) for m in masks))}, ("cat", "red barn"))


def fit(backbone: Backbone, method: MAFTPlus = SMALL, seed: int = 0, **evidence: Any) -> FittedMAFTPlus:
    given: Evidence[Any] = Evidence(**{"train": train(), **evidence})
    return method.fit(Kit({"main": backbone}), NAMES, given, Run(seed=seed))


def test_all_parts_learn_and_the_backbone_does_not(conv: Backbone) -> None:
    before = {k: v.clone() for k, v in conv.module().state_dict().items()}
    fitted = fit(conv)
    assert all(torch.equal(v, before[k]) for k, v in conv.module().state_dict().items())
    tower = {k.removeprefix("copy."): v for k, v in fitted.state.items() if k.startswith("copy.")}
    assert any(not torch.equal(v, before[k]) for k, v in tower.items())
    assert bool(fitted.state["transfer.norm.weight"].any())  # zero at the start
    photos = Pictures((halves("red", "blue"),))
    (found,), (again,) = fitted.regions(photos, Run()), fitted.regions(photos, Run())
    assert found.masks is not None
    assert found.scores.values.shape == (4, 3)
    assert bool((found.scores.values.exp().sum(1) <= 1 + 1e-5).all())
    assert torch.equal(found.scores.values, again.scores.values)


def test_set_losses_give_the_tower_no_gradient(conv: Backbone) -> None:
    """Without the mask-aware and the compensation loss the tower stays where it is."""

    class Alone(MAFTPlus):
        def _losses(self, tuned: Any, batch: Any, words: Any) -> dict[str, torch.Tensor]:
            found = super()._losses(tuned, batch, words)
            return {k: v if k in ("cross_entropy", "mask", "dice") else 0 * v for k, v in found.items()}

    alone = Alone(**vars(SMALL))
    before, after = conv.module().state_dict(), fit(conv, alone).state
    tower = {k.removeprefix("copy."): v for k, v in after.items() if k.startswith("copy.")}
    for name, value in tower.items():
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=1e-6)  # weight decay alone moves it


def test_the_mask_aware_loss_by_loops_over_a_batch(conv: Backbone) -> None:
    """Every segment of the batch counts alike, whichever image it is in, and masks are enlarged as probabilities."""
    labels = np.zeros((2, 2, 64, 64), np.int64)
    labels[0, :, :, 20:], labels[0, :, 40:] = 1, 2  # three segments, and one in the second image
    g = torch.Generator().manual_seed(0)
    batch = {"pixels": torch.rand(2, 3, 64, 64, generator=g), "labels": torch.from_numpy(labels)}
    words = words_of(conv, NAMES, Run())
    with Run().seeded("test"), torch.no_grad():
        tuned = TunedMasks(conv, SMALL.layout, 8, 2)
        found = float(SMALL._losses(tuned, batch, words)["mask_aware"])
        maps = tuned.space.dense().maps(normalise(batch["pixels"], conv.spec.pixels))
        masks = tuned.queries(four_maps(tuned.space.dense(), maps))[-1].masks
        p, held = tuned.probabilities(maps[-1], masks, words)
    assert held.any(1).all()
    soft = F.interpolate(1 / (1 + (-masks.double()).exp()), (64, 64), mode="bilinear", align_corners=False).numpy()
    terms = []
    for i in range(2):
        for k in np.unique(labels[i, 0]):
            y = labels[i, 0] == k
            iou = np.array([(m * y).sum() / (m.sum() + y.sum() - (m * y).sum()) for m in soft[i]])
            u = (iou - iou.min()) / (iou.max() - iou.min())
            terms += [0.5 * (float(p[i, q, k]) - u[q]) ** 2 for q in range(4) if held[i, q]]  # no gap reaches 1
    assert found == pytest.approx(float(np.mean(terms)), rel=1e-4)


def test_the_seed_decides_and_other_classes_have_the_same_masks(conv: Backbone) -> None:
    one, again, other = (fit(conv, seed=s) for s in (1, 1, 2))
    assert all(torch.equal(v, again.state[k]) for k, v in one.state.items())
    assert not torch.equal(one.state["queries.void"], other.state["queries.void"])
    renamed = one.for_classes(ClassNames(("oak tree", "cat"), ("a {}.",)), Run())
    photos = Pictures((halves("red", "blue"),))
    (old,), (new,) = one.regions(photos, Run()), renamed.regions(photos, Run())
    assert torch.equal(old.masks, new.masks)  # type: ignore[arg-type]
    assert new.scores.values.shape == (4, 2)


def test_the_published_configuration_sees_photos_as_the_released_one_does() -> None:
    published = with_settings(MAFTPlus(), {"published": True})
    assert (published.side, published.longest, published.pads) == (800, 1333, True)
    for one in table("maft-plus").file:
        assert {name: one.settings[name] for name in ("side", "longest", "pads")} == {
            "side": published.side, "longest": published.longest, "pads": published.pads
        }  # fmt: skip


def test_photos_are_padded_to_whole_cells_of_zeros(conv: Backbone) -> None:
    fitted = replace(fit(conv), method=replace(SMALL, pads=True, panoptic=True))
    photo = halves("red", "blue", 40, 50)
    _, _, masks = fitted.classified(photo, Run())
    x = shortest_edge(photo, 64, fitted.method.longest)
    stride = conv.dense().strides[-1]
    high, wide = (-(-size // stride) * stride for size in x.shape[1:])
    assert (high, wide) != tuple(x.shape[1:])
    pixels = F.pad(normalise(x, conv.spec.pixels), (0, wide - x.shape[2], 0, high - x.shape[1]))
    tuned = fitted.tuned
    with torch.no_grad():
        dense = tuned.space.dense()
        raw = tuned.queries(four_maps(dense, dense.maps(pixels[None])))[-1].masks
        whole = F.interpolate(raw.float(), (high, wide), mode="bilinear", align_corners=False)
        seen = whole[..., : x.shape[1], : x.shape[2]]
        expected = F.interpolate(seen, (photo.height, photo.width), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(masks, expected)
    semantic = replace(fitted, method=replace(fitted.method, panoptic=False))
    (found,) = semantic.regions(Pictures((photo,)), Run())
    assert found.masks is not None
    torch.testing.assert_close(
        found.masks, seen[0].sigmoid()
    )  # the authors' order: probabilities, then the photo's size
    maps = torch.einsum("qk,qhw->khw", found.scores.values.exp(), seen[0].sigmoid())
    whole = F.interpolate(maps[None], (photo.height, photo.width), mode="bilinear", align_corners=False)[0]
    assert torch.equal(label_map(found), whole.argmax(0))


def test_what_is_missing_or_wrong_is_named(conv: Backbone) -> None:
    with pytest.raises(MissingEvidence, match="label maps"):
        fit(conv, train=None)
    with pytest.raises(MissingHook, match="small"):
        fit(SmallBackbone())
    with pytest.raises(DataError, match="no masks"):
        fit(conv, train=Table(train().items))
    with pytest.raises(DataError, match="label 1, and there are 1 classes"):
        fit(conv, train=replace(train(), classes=("cat",)))


def test_a_tensor_that_is_missing_unknown_or_turned_is_named(conv: Backbone) -> None:
    tuned = TunedMasks(conv, SMALL.layout, SMALL.width, SMALL.heads)
    state = {n: p.detach() for n, p in tuned.named_parameters() if n in {*tuned.heads(), *tuned.tower()}}
    names = ClassNames(("left", "right"))
    whole = FittedMAFTPlus(names, conv, words_of(conv, names, Run()), state, SMALL)
    assert torch.equal(whole.tuned.queries.void, state["queries.void"])
    first = min(n for n in state if n.startswith("copy."))
    turned = "queries.embed.4.weight"
    for wrong, said in (
        ({n: t for n, t in state.items() if n != first}, f"{first} missing"),
        ({**state, "queries.nothing": torch.ones(1)}, r"queries\.nothing unknown"),
        ({**state, turned: state[turned].T}, f"{turned} of shape"),
    ):
        with pytest.raises(DataError, match=said):
            _ = replace(whole, state=wrong).tuned


def test_values_outside_their_range_are_refused() -> None:
    refused(MAFTPlus, {"side": 0}, {"crop": 0}, {"zoom": 0.5}, {"steps": -1}, {"tuning": 0}, {"batch": 0})
    refused(MAFTPlus, {"rate": 0.0}, {"tower_rate": 0.0}, {"compensate": -0.1}, {"width": 12}, {"heads": 0})


def test_without_steps_of_the_masks_alone_all_parts_are_tuned_from_their_first_weights(conv: Backbone) -> None:
    method = replace(SMALL, steps=0)
    with Run().seeded("maft-plus"):
        first = method.network(conv)
    untrained = method.masks(conv, train(), words_of(conv, NAMES, Run()), Run())
    assert all(torch.equal(a, b) for a, b in zip(untrained.parameters(), first.parameters(), strict=True))
    assert bool(fit(conv, method).state["transfer.norm.weight"].any())
