from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Backbone, ClassNames, Evidence, Kit, Run
from diptych.core.backbone import PLAIN
from diptych.features.heads import text_head
from diptych.methods.segment.naclip import NACLIP, FittedNACLIP, neighbourhood
from diptych.nn.dense.label_maps import Windows, dense_map
from tests.support.dense_colours import DenseColours
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.small_clip import small_clip

Array = NDArray[np.float64]
NAMES = ClassNames(("cat", "dog", "red barn"))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def fit(backbone: Backbone, **settings: Any) -> FittedNACLIP:
    windows = Windows(side=40, window=32, stride=16)
    return NACLIP(**{"windows": windows, **settings}).fit(Kit({"main": backbone}), NAMES, Evidence(), Run())


def array(x: Tensor) -> Array:
    return x.detach().double().numpy()


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(x: Array, layer: Any) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    unit: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return unit * array(layer.weight) + array(layer.bias)


def gaussian(height: int, width: int, sigma: float) -> Array:
    places = [(i, j) for i in range(height) for j in range(width)]
    rows = [[np.exp(-((a - c) ** 2 + (b - d) ** 2) / (2 * sigma**2)) for c, d in places] for a, b in places]
    return np.array(rows)


@torch.no_grad()
def test_equals_the_paper_in_numpy(vit: Backbone) -> None:
    """open_clip's weights, the last attention by loops over images and heads; the grid is not the tower's own."""
    x = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    tower, module = vit.tower("image"), vit.module()
    visual: Any = module.visual
    block, attention = visual.transformer.resblocks[-1], visual.transformer.resblocks[-1].attn
    before = array(tower.blocks(tower.start(x, positions=PLAIN), stop=tower.depth - 1).h)
    heads = attention.num_heads
    d = before.shape[2] // heads
    near = np.zeros((13, 13))
    near[1:, 1:] = gaussian(3, 4, 1.5)
    expected = []
    for tokens in before:
        _, k, v = np.split(
            norm(tokens, block.ln_1) @ array(attention.in_proj_weight).T + array(attention.in_proj_bias), 3, axis=1
        )
        mixed = []
        for n in range(heads):
            part = slice(n * d, (n + 1) * d)
            mixed.append(softmax(k[:, part] @ k[:, part].T / d**0.5 + near) @ v[:, part])
        z = np.concatenate(mixed, axis=1) @ array(attention.out_proj.weight).T + array(attention.out_proj.bias)
        expected.append((norm(z[1:], visual.ln_post) @ array(visual.proj)).T.reshape(-1, 3, 4))
    embedded = array(fit(vit, sigma=1.5).embeddings(x))
    np.testing.assert_allclose(embedded, np.stack(expected), rtol=1e-4, atol=1e-5 * np.abs(embedded).max())


def test_the_neighbourhood_is_a_gaussian_of_the_distance_on_the_grid() -> None:
    np.testing.assert_allclose(neighbourhood(3, 5, 2.0).numpy(), gaussian(3, 5, 2.0), rtol=1e-6)


def test_a_narrow_neighbourhood_is_the_patch_itself_and_a_wide_one_all_patches() -> None:
    assert torch.equal(neighbourhood(3, 4, 0.01), torch.eye(12))
    torch.testing.assert_close(neighbourhood(3, 4, 1e4), torch.ones(12, 12))


def test_cells_without_a_tower_are_mixed_by_cosines_and_distance() -> None:
    fitted = fit(DenseColours(), sharpness=4.0, sigma=1.0)
    x = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    f = array(fitted.backbone.dense().maps(x)[-1])[0].reshape(3, -1).T
    unit = f / np.linalg.norm(f, axis=1, keepdims=True)
    mixed = torch.from_numpy(softmax(4.0 * unit @ unit.T + gaussian(2, 3, 1.0)) @ f).float()
    expected = fitted.backbone.dense().project(mixed).T.reshape(1, -1, 2, 3)
    torch.testing.assert_close(fitted.embeddings(x), expected)


def test_without_sharpness_and_with_a_wide_neighbourhood_all_cells_are_alike() -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    flat = fit(DenseColours(), sharpness=0.0, sigma=1e4).embeddings(x)
    torch.testing.assert_close(flat, flat.mean((2, 3), keepdim=True).expand_as(flat))
    near = fit(DenseColours(), sharpness=0.0, sigma=1.0).embeddings(x)
    assert not torch.allclose(near, near.mean((2, 3), keepdim=True).expand_as(near), atol=1e-3)


def test_maps_are_averaged_cosines_of_patches_and_texts(vit: Backbone) -> None:
    """One window of the tower's own size."""
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    fitted = fit(vit, windows=Windows(32, 32, 16))
    (regions,) = fitted.regions(Pictures((picture,)), Run())
    with torch.no_grad():
        z = F.normalize(fitted.embeddings(torch.as_tensor(vit.image.inputs([picture]))), dim=1)
        logits = vit.scale()[0] * torch.einsum("bdhw,kd->bkhw", z, text_head(vit, NAMES.prompts(), Run()))
    expected = F.interpolate(logits, (32, 32), mode="bilinear")[0]
    torch.testing.assert_close(dense_map(regions), expected, rtol=1e-4, atol=1e-4)


def test_wrong_parameters_are_refused() -> None:
    refused(NACLIP, {"sigma": 0.0}, {"sharpness": -0.1})
