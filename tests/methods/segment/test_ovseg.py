from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Kit,
    MissingEvidence,
    MissingHook,
    MissingPart,
    Regions,
    Run,
    Table,
)
from diptych.features import portable
from diptych.methods.segment.ovseg import FittedOVSeg, OVSeg
from diptych.nn.dense.label_maps import dense_map, label_map
from diptych.nn.dense.mined_pairs import ensemble, mined, pair_loss
from tests.support.dense_colours import halves
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.regions import Colours, Halves
from tests.support.small_clip import small_clip

NAMES = ClassNames(("cat", "dog", "red barn"))
COLOURS = ClassNames(("red", "blue"), ("{}",))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


class Nothing(Halves):
    masks, scores = torch.zeros(0, 1, 1), torch.zeros(0)


def photo(seed: int = 3) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 64, 3), dtype=np.uint8))


def captioned(*texts: str) -> Table[Any]:
    return Table(Pictures(tuple(photo(k) for k in range(len(texts)))), {"captions": Column("captions", tuple((t,) for t in texts))})  # fmt: skip  # noqa: E501


PAIRS = captioned("A dog with a cat.", "A man on a boat.", "Nothing at all.")


def fit(method: OVSeg, backbone: Backbone, proposer: Any = None, given: Table[Any] | None = PAIRS) -> FittedOVSeg:
    kit = Kit({"main": backbone, "proposer": proposer or Halves()})
    return method.fit(kit, NAMES, Evidence(auxiliary=given), Run())


def regions(fitted: FittedOVSeg, image: Image.Image | None = None) -> Regions:
    (found,) = fitted.regions(Pictures((image or photo(),)), Run())
    return found


@torch.no_grad()
def test_equals_the_formula_on_the_library_module(vit: Backbone) -> None:
    """Crop, mean colour, both softmaxes and the ensemble in NumPy and torch, on open_clip's own module."""
    found = regions(fit(OVSeg(tune="none", side=32), vit))
    image, model = photo(), vit.module()
    mean, std = (np.array(c)[:, None, None] for c in (vit.spec.pixels.mean, vit.spec.pixels.std))
    x = (np.asarray(image, dtype=np.float64).transpose(2, 0, 1) / 255 - mean) / std
    text = vit.text.encode(vit.text.inputs([f"a photo of a {n}." for n in NAMES]))
    t = F.normalize(text, dim=-1).double().numpy()
    scale = float(model.logit_scale.exp())

    def log_softmax(v: np.ndarray) -> np.ndarray:
        return v - np.log(np.exp(v - v.max()).sum()) - v.max()

    v = model.visual
    h = v.conv1(torch.from_numpy(x)[None].float()).flatten(2).transpose(1, 2)  # 2 x 4 patches of 16 pixels
    native = v.positional_embedding[1:].reshape(1, 2, 2, -1).permute(0, 3, 1, 2)
    placed = F.interpolate(native, (2, 4), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    h = torch.cat([(v.class_embedding + v.positional_embedding[0])[None, None], h + placed], dim=1)
    h = v.ln_pre(h)
    for block in v.transformer.resblocks[:-1]:
        h = block(h)
    last = v.transformer.resblocks[-1]
    width = h.shape[-1]
    values = last.ln_1(h) @ last.attn.in_proj_weight[2 * width :].T + last.attn.in_proj_bias[2 * width :]
    h = h + last.attn.out_proj(values)
    patches = F.normalize(v.ln_post(h + last.mlp(last.ln_2(h)))[0, 1:] @ v.proj, dim=-1).double().numpy()  # 2 x 4
    for q, columns in enumerate(((0, 32), (32, 64))):
        crop = torch.from_numpy(x[:, :, slice(*columns)])[None]  # 32 x 32, the tower's own side
        z = F.normalize(v(crop.float()), dim=-1).double().numpy()[0]
        c = log_softmax(scale * t @ z)
        left, right = Halves.masks[q, 0].tolist()
        weights = np.tile(np.array([left, 0.75 * left + 0.25 * right, 0.25 * left + 0.75 * right, right]), 2)
        mixed = weights @ patches
        b = log_softmax(scale * t @ (mixed / np.linalg.norm(mixed)))
        expected = 0.3 * b + 0.7 * c + np.log(float(Halves.scores[q]))
        np.testing.assert_allclose(found.scores.values[q].double().numpy(), expected, atol=2e-3)


def test_a_mask_that_nothing_passes_leaves_the_proposer_alone(vit: Backbone) -> None:
    empty = regions(fit(OVSeg(tune="none", side=32), vit)).scores.values[2].exp()
    patches = regions(fit(OVSeg(tune="none", side=32, share=0.0), vit)).scores.values[2].exp()
    torch.testing.assert_close(empty / 0.25, (patches / 0.25) ** 0.3)


def test_a_photo_without_proposals_is_one_region(vit: Backbone) -> None:
    found = regions(fit(OVSeg(tune="none", side=32), vit, Nothing()))
    assert found.masks is not None
    assert found.masks.shape == (1, 1, 1)
    assert dense_map(found).shape == (3, 1, 1)


class LeftHalf(Halves):
    masks, scores = torch.tensor([[[1.0, 0.0]]]), torch.ones(1)


class LargestFirst(Halves):
    """The whole photo, of which it is unsure, before the halves."""

    masks, scores = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([0.1, 0.9, 0.8])


def test_the_surest_regions_are_classified_whatever_their_order(vit: Backbone) -> None:
    found = regions(fit(OVSeg(tune="none", side=32, regions=2), vit, LargestFirst()))
    assert found.masks is not None
    assert found.masks[:, 0].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_what_no_region_covers_is_one_more_and_not_the_first_class() -> None:
    given = Table(Pictures((halves("red", "blue"),)), {"captions": Column("captions", (("Two boats.",),))})
    kit = Kit({"main": Colours(), "proposer": LeftHalf()})
    fitted = OVSeg(tune="none", side=32).fit(kit, COLOURS, Evidence(auxiliary=given), Run())
    found = regions(fitted, halves("red", "blue"))
    assert found.masks is not None
    assert found.masks.tolist() == [[[1.0, 0.0]], [[0.0, 1.0]]]
    assert label_map(found).unique(dim=0).tolist() == [[0] * 30 + [1] * 30]


def test_colours_are_found_and_the_ensemble_stays_finite() -> None:
    kit = Kit({"main": Colours(), "proposer": Halves()})
    fitted = OVSeg(tune="none", side=32).fit(kit, COLOURS, Evidence(), Run())
    found = regions(fitted, halves("red", "blue"))
    assert found.scores.values.argmax(1)[:2].tolist() == [0, 1]
    p = ensemble(torch.tensor([[0.0, -400.0]]), torch.tensor([[-300.0, 0.0]]), torch.zeros(1), 0.5)
    assert torch.isfinite(p).all()


@pytest.mark.parametrize(
    ("tune", "learnt"), [("full", "twin."), ("prompts", "prompts"), ("map", "up"), ("auto", "prompts")]
)
def test_what_is_tuned_learns_and_the_backbone_stays(tune: Any, learnt: str, vit: Backbone, tmp_path: Path) -> None:
    before = {k: v.clone() for k, v in vit.module().state_dict().items()}
    method = OVSeg(tune=tune, side=32, epochs=1, rate=1e-3)
    fitted = fit(method, vit)
    assert any(name.startswith(learnt) for name in fitted.learnt)
    assert any(n.startswith("twin.") for n in fitted.learnt) == (tune in ("full", "auto"))
    assert all(torch.equal(v, before[k]) for k, v in vit.module().state_dict().items())
    assert all(p.grad is None for p in vit.module().parameters())
    assert not torch.equal(regions(fitted).scores.values, regions(fit(replace(method, tune="none"), vit)).scores.values)
    again = fit(method, vit)
    assert all(torch.equal(v, again.learnt[k]) for k, v in fitted.learnt.items())
    portable.save(fitted, tmp_path / "f")
    loaded = portable.load(tmp_path / "f", Kit({"main": vit, "proposer": Halves()}))
    assert torch.equal(regions(loaded).scores.values, regions(fitted).scores.values)


def test_crops_to_learn_from_are_smoothed_however_they_are_classified(vit: Backbone) -> None:
    large = Pictures(tuple(photo(k).resize((128, 64), Image.Resampling.NEAREST) for k in range(3)))
    given = replace(PAIRS, items=large)  # crops of 64 pixels, for a tower of 32
    smooth, plain = (
        fit(OVSeg(tune="full", side=64, epochs=1, rate=1e-3, antialias=antialias), vit, given=given)
        for antialias in (True, False)
    )
    assert smooth.learnt.keys() == plain.learnt.keys()
    assert all(torch.equal(smooth.learnt[name], plain.learnt[name]) for name in smooth.learnt)
    image = large[0]
    assert not torch.equal(regions(smooth, image).scores.values, regions(plain, image).scores.values)


def test_tuning_lowers_the_loss(vit: Backbone) -> None:
    """Mined pairs given as evidence: after many steps a crop is nearer to its own noun than before."""
    names = [("dog", "cat"), ("man", "boat")]
    pairs = mined(PAIRS.items, [*names, ()], Halves(), vit, Run(), side=32)
    words = sorted({own[0] for own in pairs.columns["captions"].values})

    def loss(fitted: FittedOVSeg) -> float:
        from diptych.features.embed import embed
        from diptych.features.heads import text_head
        from diptych.nn.dense.mask_adapted import MaskedEncoder

        z = embed(MaskedEncoder.of(vit, fitted.learnt), pairs.items, Run())
        t = text_head(vit, ClassNames(tuple(words)).prompts(), Run())
        noun = torch.tensor([words.index(own[0]) for own in pairs.columns["captions"].values])
        return float(pair_loss(z, t[noun], vit.scale()[0].detach(), noun))

    plain = fit(OVSeg(tune="none"), vit)
    tuned = fit(OVSeg(tune="full", side=32, epochs=30, rate=1e-3), vit, given=pairs)
    assert loss(tuned) < loss(plain) - 0.1


def test_without_a_tower_the_map_learns_and_prompts_are_refused() -> None:
    backbone = Colours()
    photos = Pictures((halves("red", "blue"), halves("blue", "red")))
    pairs = mined(photos, (("red", "blue"), ("red",)), Halves(), backbone, Run(), side=32)
    kit = Kit({"main": backbone, "proposer": Halves()})
    fitted = OVSeg(side=32, epochs=1).fit(kit, COLOURS, Evidence(auxiliary=pairs), Run())
    assert set(fitted.learnt) == {"down", "up"}
    with pytest.raises(MissingHook):
        OVSeg(tune="prompts", side=32).fit(kit, COLOURS, Evidence(auxiliary=pairs), Run())


def test_other_classes_by_their_names(vit: Backbone) -> None:
    fitted = fit(OVSeg(tune="none", side=32), vit)
    turned = ClassNames(tuple(reversed(NAMES.names)))
    other = fitted.for_classes(turned, Run())
    torch.testing.assert_close(regions(other).scores.values.flip(1), regions(fitted).scores.values, atol=1e-4, rtol=0)


def test_what_is_missing_is_named(vit: Backbone) -> None:
    with pytest.raises(MissingPart, match="proposer"):
        OVSeg().fit(Kit({"main": vit}), NAMES, Evidence(), Run())
    with pytest.raises(MissingEvidence, match="captioned photos"):
        fit(OVSeg(), vit, given=None)
    with pytest.raises(DataError, match="1 things"):
        fit(OVSeg(side=32), vit, given=captioned("A dog."))


@pytest.mark.parametrize(
    "wrong",
    [
        {"tune": "all"}, {"tagger": "spacy"}, {"share": 1.5}, {"threshold": 1.0}, {"regions": 0}, {"side": 0},
        {"photos": 0}, {"depth": 0}, {"epochs": 0}, {"batch": 1}, {"rate": 0.0}, {"prompt_rate": 0.0},
        {"map_rate": 0.0},
    ],
)  # fmt: skip
def test_values_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    refused(OVSeg, wrong)
