from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import (
    Backbone,
    ClassNames,
    EditAsk,
    Evidence,
    FittedSegmenter,
    Kit,
    MissingPart,
    Regions,
    Run,
    Samples,
    Scores,
    Segmenter,
    UsageError,
)
from diptych.features import portable
from diptych.methods.edit.mosaic import BACKGROUND, FittedMosaic, Mosaic
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.nn.dense.label_maps import Windows
from diptych.nn.style_space import direction_loss
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.small_clip import small_clip

SHORT: dict[str, Any] = {"steps": 3, "rate": 5e-3, "side": 24, "crops": 2, "crop": 0.5, "width": 4, "least": 0.0}
HALVES = np.zeros((2, 20, 24), bool)
HALVES[0, :, :10], HALVES[1, :, 14:] = True, True


@dataclass(frozen=True)
class Halves(Segmenter):
    """Finds the first object on the left half and the second on the right, whatever they are."""

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedSegmenter:
        return FittedHalves(classes)


@dataclass(frozen=True)
class FittedHalves(FittedSegmenter):
    classes: ClassNames

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        for i in range(len(images)):
            maps = torch.full((len(self.classes), 2, 2), -9.0)
            maps[0, :, 0], maps[1, :, 1] = 9.0, 9.0
            width, height = images[i].size
            yield Regions(Scores(maps.flatten(1).T.contiguous(), "logit"), (height, width), (2, 2))


@dataclass(frozen=True)
class Everywhere(Segmenter):
    """Takes every pixel for the first name."""

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedSegmenter:
        return FittedEverywhere(classes)


@dataclass(frozen=True)
class FittedEverywhere(FittedSegmenter):
    classes: ClassNames

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        for i in range(len(images)):
            maps = torch.full((len(self.classes), 2, 2), -9.0)
            maps[0] = 9.0
            width, height = images[i].size
            yield Regions(Scores(maps.flatten(1).T.contiguous(), "logit"), (height, width), (2, 2))


@dataclass(frozen=True)
class ByName(Segmenter):
    """Finds each of three objects in a place of its own, whatever the order of the names."""

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedSegmenter:
        return FittedByName(classes)


@dataclass(frozen=True)
class FittedByName(FittedSegmenter):
    classes: ClassNames

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        for i in range(len(images)):
            maps = torch.full((len(self.classes), 2, 2), 0.3)
            for c, (row, column) in {"cup": (0, 0), "dog": (0, 1), "fox": (1, 0)}.items():
                maps[list(self.classes.names).index(c), row, column] = 3.0
            width, height = images[i].size
            yield Regions(Scores(maps.flatten(1).T.contiguous(), "logit"), (height, width), (2, 2))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


@pytest.fixture(scope="module")
def photos() -> Pictures:
    rng = np.random.default_rng(0)
    return Pictures(tuple(Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)) for _ in range(2)))


@pytest.fixture(scope="module")
def fitted(vit: Backbone) -> FittedMosaic:
    return Mosaic(**SHORT).fit(Kit({"main": vit, "segmenter": Halves()}), Evidence(), Run())


def test_what_lies_outside_the_masks_stays_to_the_pixel(fitted: FittedMosaic, photos: Pictures) -> None:
    ask = EditAsk("", "cup: red; dog: blue", images=photos, masks=[HALVES, HALVES])
    found = fitted.edit(ask, Run())
    for before, after in zip(found.before, found.after, strict=True):
        assert torch.equal(before[:, :, 10:14], after[:, :, 10:14])
        assert float((after - before)[:, :, :9].abs().sum()) > 0
        assert float((after - before)[:, :, 15:].abs().sum()) > 0
    assert found.facts[0]["areas"] == {"cup": pytest.approx(10 / 24, abs=0.03), "dog": pytest.approx(10 / 24, abs=0.03)}


def test_limits_an_empty_mask_and_strength_0_give_the_input(fitted: FittedMosaic, photos: Pictures) -> None:
    empty = EditAsk("", "cup: red", images=photos, masks=[np.zeros((1, 20, 24), bool)] * 2)
    still = EditAsk("", "cup: red", images=photos, strength=0.0)
    for ask in (empty, still):
        found = fitted.edit(ask, Run())
        assert all(torch.equal(*pair) for pair in zip(found.before, found.after, strict=True))
    assert found.before[0].shape == (3, 20, 24)
    np.testing.assert_array_equal((255 * found.before[0]).permute(1, 2, 0).round().numpy(), np.asarray(photos[0]))


def test_the_segmenter_says_where_objects_are(fitted: FittedMosaic, photos: Pictures) -> None:
    masks = fitted.masks(photos, 0, ["cup", "dog", BACKGROUND], None, Run())
    assert masks.shape == (3, 20, 24)
    assert float(masks[0, :, :4].min()) > 0.99
    assert float(masks[1, :, 20:].min()) > 0.99
    assert float(masks.sum(0).max()) <= 1 + 1e-5
    allowed = np.zeros((20, 24), bool)
    allowed[:, :5] = True
    some = fitted.masks(photos, 0, ["cup", "dog"], allowed, Run())
    assert float(some[:, :, 5:].abs().max()) == 0
    assert float(some[0, :, :4].min()) > 0.9


def test_a_seed_fixes_a_picture_and_others_do_not_matter(fitted: FittedMosaic, photos: Pictures) -> None:
    both = fitted.edit(EditAsk("", "cup: red", images=photos), Run(seed=3)).after
    one = fitted.edit(EditAsk("", "cup: red", images=Pictures(photos.images[1:])), Run(seed=3)).after
    assert torch.equal(both[1], one[0])
    other = fitted.edit(EditAsk("", "cup: red", images=Pictures(photos.images[1:])), Run(seed=4)).after
    assert not torch.equal(other[0], one[0])


def test_the_order_of_the_clauses_does_not_matter(vit: Backbone, photos: Pictures) -> None:
    fitted = Mosaic(**SHORT).fit(Kit({"main": vit, "segmenter": ByName()}), Evidence(), Run())
    one = Pictures(photos.images[:1])
    prompts = "cup: red; dog: blue; fox: red", "fox: red; cup: red; dog: blue"
    first, second = (fitted.edit(EditAsk("", prompt, images=one), Run()) for prompt in prompts)
    assert torch.equal(first.after[0], second.after[0])
    assert not torch.equal(first.after[0], first.before[0])
    assert list(second.facts[0]["areas"]) == ["fox", "cup", "dog"]
    assert first.facts[0]["areas"] == second.facts[0]["areas"]
    masks = HALVES, HALVES[::-1]
    first, second = (
        fitted.edit(EditAsk("", prompt, images=one, masks=[mask]), Run())
        for prompt, mask in zip(("cup: red; dog: blue", "dog: blue; cup: red"), masks, strict=True)
    )
    assert torch.equal(first.after[0], second.after[0])


@pytest.mark.parametrize("size", [(32, 24), (24, 32)])
def test_a_photo_with_one_side_of_the_tower_s_is_stylised(vit: Backbone, size: tuple[int, int]) -> None:
    assert vit.image.size == 32
    rng = np.random.default_rng(1)
    photo = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    fitted = Mosaic(**{**SHORT, "side": 32}).fit(Kit({"main": vit, "segmenter": Halves()}), Evidence(), Run())
    found = fitted.edit(EditAsk("", "cup: red", images=Pictures((photo,))), Run())
    assert found.after[0].shape == (3, *size[::-1])
    assert not torch.equal(found.after[0], found.before[0])


def test_an_object_that_is_found_everywhere_is_refused(vit: Backbone, photos: Pictures) -> None:
    fitted = Mosaic(**SHORT).fit(Kit({"main": vit, "segmenter": Everywhere()}), Evidence(), Run())
    one = Pictures(photos.images[:1])
    with pytest.raises(UsageError, match=r"takes every pixel of .* for 'cup': name what else"):
        fitted.edit(EditAsk("", "cup: red", images=one), Run())
    part = np.zeros((20, 24), bool)
    part[:, :12] = True
    assert fitted.edit(EditAsk("", "cup: red", images=one, masks=[part]), Run()).facts[0]["areas"]["cup"] < 0.6


def test_a_picture_that_is_refused_is_refused_before_any_is_stylised(
    vit: Backbone, photos: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = Mosaic(**SHORT).fit(Kit({"main": vit, "segmenter": Everywhere()}), Evidence(), Run())
    stylised = list[str]()
    monkeypatch.setattr(FittedMosaic, "stylised", lambda self, x, mask, style, run, name: stylised.append(name) or x)
    part = np.zeros((20, 24), bool)
    part[:, :12] = True
    two = Pictures(photos.images[:1] * 2)
    with pytest.raises(UsageError, match="takes every pixel of"):
        fitted.edit(EditAsk("", "cup: red", images=two, masks=[part, ~np.zeros_like(part)]), Run())
    assert stylised == []
    looked = list[int]()
    masks = FittedMosaic.masks
    monkeypatch.setattr(FittedMosaic, "masks", lambda self, x, i, *more: looked.append(i) or masks(self, x, i, *more))
    fitted.edit(EditAsk("", "cup: red", images=two, masks=[part, part]), Run())
    assert (len(stylised), looked) == (2, [0, 1])


def test_training_lowers_the_loss_it_names(vit: Backbone, photos: Pictures) -> None:
    from diptych.features.heads import text_head
    from diptych.methods.edit.mosaic import FRAMES, PLAIN
    from diptych.nn.style_space import seen

    run = Run()
    method = Mosaic(**{**SHORT, "steps": 30, "weights": (1.0, 0.0, 0.0, 0.0)})
    fitted = method.fit(Kit({"main": vit, "segmenter": Halves()}), Evidence(), run)
    found = fitted.edit(EditAsk("", "cup: red", images=photos, masks=[np.ones((1, 20, 24), bool)] * 2), run)
    ends = text_head(vit, [[f.replace("{}", w) for f in FRAMES] for w in (PLAIN, "red")], run)
    with torch.no_grad():
        ends_seen = [seen(vit.image, torch.stack(list(t)), run) for t in (found.before, found.after)]
    assert (
        float(direction_loss(ends_seen[1], ends_seen[0], (ends[1] - ends[0])[None]).mean()) < 0.8
    )  # 1 is no direction


def test_bad_input_is_named(vit: Backbone, fitted: FittedMosaic, photos: Pictures) -> None:
    refused(Mosaic, {"steps": 0}, {"rate": 0.0}, {"side": 8}, {"crop": 0.0}, {"distortion": 1.0}, {"floor": 1.0})
    refused(Mosaic, {"frames": ("no place",)}, {"width": 0}, {"least": -1.0})
    with pytest.raises(MissingPart, match="Segmenter named 'segmenter'"):
        Mosaic(**SHORT).fit(Kit({"main": vit}), Evidence(), Run())
    with pytest.raises(UsageError, match=r"\(1, 4, 4\) for 1 objects"):
        fitted.edit(EditAsk("", "cup: red", images=photos, masks=[np.ones((1, 4, 4), bool)] * 2), Run())
    with pytest.raises(UsageError, match="begins with pictures"):
        fitted.edit(EditAsk("", "cup: red"), Run())


def test_it_is_saved_with_a_segmenter_of_the_catalog(vit: Backbone, photos: Pictures, tmp_path: Path) -> None:
    kit = Kit({"main": vit, "segmenter": MaskCLIP(windows=Windows(32, 32, 32))})
    fitted = Mosaic(**SHORT).fit(kit, Evidence(), Run())
    portable.save(fitted, tmp_path / "kept")
    ask = EditAsk("", "cup: red; dog: blue", images=photos)
    ends = [f.edit(ask, Run()).after for f in (fitted, portable.load(tmp_path / "kept", kit))]
    assert all(torch.equal(*pair) for pair in zip(*ends, strict=True))
