from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.backbones.mask_models.merged_cells import MergedCells
from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.vision import sam_space
from diptych.core import Backbone, ClassNames, Evidence, Kit, MissingPart, Proposals, Run
from diptych.features.heads import text_head
from diptych.methods.segment.trident import FittedTrident, Trident, canvas_size
from diptych.nn.dense.label_maps import Windows, dense_map, label_map, resized
from diptych.nn.dense.prompted import Refinement
from tests.support.dense_colours import DenseColours, halves
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.sam import small_sam
from tests.support.small_clip import small_clip

NAMES = ClassNames(("cat", "dog", "red barn"))
WINDOWS = Windows(48, 32, 16)
PLAIN = Trident(windows=WINDOWS, aggregate="none", refinement=None)
PROPOSER = MergedCells(side=12, count=6, finest=4)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def photo(width: int = 96, height: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


def fit(method: Trident, backbone: Backbone, **parts: Any) -> FittedTrident:
    kit = Kit({"main": backbone, "teacher": backbone, "proposer": PROPOSER, **parts})
    return method.fit(kit, NAMES, Evidence(), Run())


def maps(method: Trident, backbone: Backbone, image: Image.Image | None = None, **parts: Any) -> torch.Tensor:
    (found,) = fit(method, backbone, **parts).regions(Pictures((image or photo(),)), Run())
    return dense_map(found)


@torch.no_grad()
def test_equals_the_weights_by_loops(vit: Backbone) -> None:
    """The whole pipeline without aggregation, in NumPy, from the weights of open_clip's module."""
    v: Any = vit.module().visual
    w = {k: t.double().numpy() for k, t in v.state_dict().items()}
    last = f"transformer.resblocks.{len(v.transformer.resblocks) - 1}"
    width, patch = w["class_embedding"].shape[0], v.patch_size[0]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = resized(photo(), 48)
    height, wide = canvas_size(*x.shape[1:], patch, 32)
    x = F.interpolate(x[None], (height, wide), mode="bilinear", align_corners=False)[0]
    mean, std = (np.array(c)[:, None, None] for c in (vit.spec.pixels.mean, vit.spec.pixels.std))
    windows = []
    for top in range(0, height - 32 + 1, 16):
        for left in range(0, wide - 32 + 1, 16):
            cut = (x[:, top : top + 32, left : left + 32].double().numpy() - mean) / std
            h = v._embeds(torch.from_numpy(cut)[None].float())
            for block in v.transformer.resblocks[:-1]:
                h = block(h)
            after = v.transformer.resblocks[-1](h)
            phi = norm(after[0, 1:].double().numpy(), "ln_post")
            unit = phi / np.linalg.norm(phi, axis=1, keepdims=True)
            windows.append((top // patch, left // patch, h[0, 1:].double().numpy(), unit @ unit.T))
    mean_s = np.mean([s for *_, s in windows])
    rows, columns = height // patch, wide // patch
    total, visits = np.zeros((rows, columns, width)), np.zeros((rows, columns))
    for top, left, h, s in windows:
        values = norm(h, f"{last}.ln_1") @ w[f"{last}.attn.in_proj_weight"][2 * width :].T
        values += w[f"{last}.attn.in_proj_bias"][2 * width :]
        for i in range(len(s)):
            row = np.array(
                [
                    np.exp(3 * (s[i, j] - 1.2 * mean_s)) if s[i, j] >= 1.2 * mean_s or i == j else 0
                    for j in range(len(s))
                ]
            )
            u = (row / row.sum()) @ values @ w[f"{last}.attn.out_proj.weight"].T + w[f"{last}.attn.out_proj.bias"]
            y, z = top + i // (32 // patch), left + i % (32 // patch)
            total[y, z] += u
            visits[y, z] += 1
    f = norm(total / visits[..., None], "ln_post") @ w["proj"]
    f /= np.linalg.norm(f, axis=-1, keepdims=True)
    head = text_head(vit, NAMES.prompts(), Run()).double().numpy()
    expected = 40 * np.einsum("kd,hwd->khw", head, f)
    np.testing.assert_allclose(maps(PLAIN, vit).double().numpy(), expected, atol=2e-3)


class OneCellRegions:
    """Every cell is a region of its own; M is then the identity."""

    fingerprint = "cells"

    def propose(self, image: Any, words: Any = (), /) -> Proposals:
        return Proposals(torch.eye(20).reshape(20, 4, 5), torch.ones(20), (image.height, image.width))


class OneRegion(OneCellRegions):
    def propose(self, image: Any, words: Any = (), /) -> Proposals:
        return Proposals(torch.ones(1, 3, 4), torch.ones(1), (image.height, image.width))


@torch.no_grad()
def test_identity_equals_no_aggregation_and_one_region_is_one_answer(vit: Backbone) -> None:
    regions = replace(PLAIN, aggregate="regions")
    torch.testing.assert_close(maps(regions, vit, proposer=OneCellRegions()), maps(PLAIN, vit))
    whole = maps(regions, vit, proposer=OneRegion())
    torch.testing.assert_close(whole, whole[:, :1, :1].expand_as(whole), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "patch", "expected"),
    [
        ((448, 597), 16, (464, 608)),  # what the authors' function returns, as all of these
        ((597, 448), 16, (608, 464)),
        ((448, 600), 16, (464, 608)),
        ((448, 608), 16, (448, 608)),
        ((100, 640), 16, (336, 640)),
    ],
)
def test_sizes_are_the_authors(size: tuple[int, int], patch: int, expected: tuple[int, int]) -> None:
    assert canvas_size(*size, patch, 336) == expected


class NestedRegions(OneCellRegions):
    """The whole picture, and its halves inside it."""

    def propose(self, image: Any, words: Any = (), /) -> Proposals:
        masks = torch.zeros(3, 4, 8)
        masks[0], masks[1, :, :4], masks[2, :, 4:] = 1, 1, 1
        return Proposals(masks, torch.ones(3), (image.height, image.width))


class Whole(NestedRegions):
    """Many regions of nearly the whole picture, and its halves inside them, as a tree of merges has them."""

    def propose(self, image: Any, words: Any = (), /) -> Proposals:
        halves = super().propose(image).masks
        return Proposals(torch.cat([halves[:1]] * 7 + [halves[1:]]), torch.ones(9), (image.height, image.width))


def test_nested_regions_of_two_classes_keep_both() -> None:
    backbone, names = DenseColours(), ClassNames(("red", "blue"), ("{}",))
    method = Trident(windows=Windows(40, 32, 16), refinement=None, scale=None)
    image = halves("red", "blue")
    found = {}
    for proposer in (NestedRegions(), Whole()):
        kit = Kit({"main": backbone, "teacher": backbone, "proposer": proposer})
        (regions,) = method.fit(kit, names, Evidence(), Run()).regions(Pictures((image,)), Run())
        found[type(proposer)] = dense_map(regions)
        labels = label_map(regions)
        assert labels[:, 5].eq(0).all()
        assert labels[:, -5].eq(1).all()
    torch.testing.assert_close(found[Whole], found[NestedRegions])  # what lies around changes nothing


def test_with_one_window_both_orders_are_one(vit: Backbone) -> None:
    one = Windows(32, 32, 32)
    square = photo(64, 64)
    features = maps(replace(PLAIN, windows=one), vit, square)
    torch.testing.assert_close(maps(replace(PLAIN, windows=one, splice="scores"), vit, square), features)
    several = maps(replace(PLAIN, splice="scores"), vit)
    assert not torch.allclose(several, maps(PLAIN, vit), atol=1e-3)


@torch.no_grad()
def test_sams_attention_aggregates_the_valid_part(vit: Backbone) -> None:
    sam = SamMasks(small_sam())
    method = replace(PLAIN, aggregate="auto")
    fitted = fit(method, vit, sam=sam_space(sam))
    m, grid = fitted.attention(photo(), Run())
    assert grid == (6, 8)  # 64 pixels in patches of 8; the photo is 43 pixels high there, so 6 rows of patches
    torch.testing.assert_close(m.sum(1), torch.ones(48))
    assert maps(method, vit, sam=sam_space(sam)).shape == (3, 6, 8)
    assert maps(replace(method, columns=2), vit, sam=sam_space(sam)).shape == (3, 8, 12)  # halves are higher than wide


def test_sam_refines_and_gives_probabilities(vit: Backbone) -> None:
    sam = SamMasks(small_sam())
    method = replace(PLAIN, refinement=Refinement(coarse=0.1, least=4, iou=-0.0))
    fitted = fit(method, vit, masks=sam)
    (found,) = fitted.regions(Pictures((photo(),)), Run())
    assert found.scores.kind == "log_prob"
    assert found.grid == (32, 48)
    assert label_map(found).shape == (64, 96)
    assert fit(replace(method, refinement=None), vit, masks=sam).masks is None


def test_a_backbone_without_a_tower_splices_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = DenseColours()
    method = Trident(windows=Windows(40, 32, 16), refinement=None, scale=None)
    names = ClassNames(("red", "blue"), ("{}",))
    kit = Kit({"main": backbone, "teacher": backbone, "proposer": PROPOSER})
    fitted = method.fit(kit, names, Evidence(), Run())
    (found,) = fitted.regions(Pictures((halves("red", "blue"),)), Run())
    labels = label_map(found)
    monkeypatch.setattr("diptych.methods.segment.trident.cell_embeddings", lambda dense, m: m)
    embedded = torch.rand(4, 4, 5, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = fitted.scores(embedded)
    assert torch.equal(mixed, fitted.scores(embedded))
    assert labels[20, 5] == 0
    assert labels[20, 55] == 1


def test_what_is_missing_is_named(vit: Backbone) -> None:
    for name, kit in (
        ("teacher", {"main": vit}),
        ("proposer", {"main": vit, "teacher": vit}),
    ):
        with pytest.raises(MissingPart, match=name):
            Trident(windows=WINDOWS).fit(Kit(kit), NAMES, Evidence(), Run())
    with pytest.raises(MissingPart, match="sam"):
        fit(replace(PLAIN, aggregate="attention"), vit)


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": -1.0},
        {"gamma": 0.0},
        {"scale": 0.0},
        {"columns": 0},
        {"cosine_factor": -0.1},
        {"aggregate": "both"},
        {"splice": "pixels"},
    ],
)
def test_values_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    refused(Trident, wrong)
