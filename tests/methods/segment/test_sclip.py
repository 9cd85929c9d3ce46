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
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.methods.segment.sclip import SCLIP, FittedSCLIP, correlative_attention
from diptych.nn.dense.label_maps import Windows, dense_map
from tests.support.dense_colours import DenseColours
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.small_clip import small_clip

Array = NDArray[np.float64]
NAMES = ClassNames(("cat", "dog", "red barn"))
SMALL = Windows(side=40, window=32, stride=16)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def fit(backbone: Backbone, **settings: Any) -> FittedSCLIP:
    return SCLIP(windows=SMALL, **settings).fit(Kit({"main": backbone}), NAMES, Evidence(), Run())


def photo(seed: int, height: int = 32, width: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def array(x: Tensor) -> Array:
    return x.detach().double().numpy()


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(x: Array, layer: Any) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    unit: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return unit * array(layer.weight) + array(layer.bias)


@torch.no_grad()
def test_equals_the_paper_in_numpy(vit: Backbone) -> None:
    """open_clip's weights, the last block by loops over images and heads; the grid is not the tower's own."""
    x = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    tower, module = vit.tower("image"), vit.module()
    visual: Any = module.visual
    block, attention = visual.transformer.resblocks[-1], visual.transformer.resblocks[-1].attn
    before = array(tower.blocks(tower.start(x, positions=PLAIN), stop=tower.depth - 1).h)
    width, heads = before.shape[2], attention.num_heads
    d = width // heads
    expected = []
    for tokens in before:
        q, k, v = np.split(
            norm(tokens, block.ln_1) @ array(attention.in_proj_weight).T + array(attention.in_proj_bias), 3, axis=1
        )
        mixed = []
        for n in range(heads):
            own = slice(n * d, (n + 1) * d)
            a = softmax(q[:, own] @ q[:, own].T / d**0.5) + softmax(k[:, own] @ k[:, own].T / d**0.5)
            mixed.append(a @ v[:, own])
        out = np.concatenate(mixed, axis=1) @ array(attention.out_proj.weight).T + array(attention.out_proj.bias)
        y = tokens + out
        hidden = torch.from_numpy(norm(y, block.ln_2) @ array(block.mlp.c_fc.weight).T + array(block.mlp.c_fc.bias))
        hidden = array(block.mlp.gelu(hidden))
        z = y + hidden @ array(block.mlp.c_proj.weight).T + array(block.mlp.c_proj.bias)
        expected.append((norm(z[1:], visual.ln_post) @ array(visual.proj)).T.reshape(-1, 3, 4))
    got = array(fit(vit).embeddings(x))
    np.testing.assert_allclose(got, np.stack(expected), rtol=1e-4, atol=1e-5 * np.abs(got).max())


def test_cells_without_a_tower_are_mixed_by_their_cosines() -> None:
    fitted = fit(DenseColours(), sharpness=4.0)
    x = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    f = array(fitted.backbone.dense().maps(x)[-1])[0].reshape(3, -1).T
    unit = f / np.linalg.norm(f, axis=1, keepdims=True)
    mixed = torch.from_numpy(softmax(4.0 * unit @ unit.T) @ f).float()
    expected = fitted.backbone.dense().project(mixed).T.reshape(1, -1, 2, 3)
    torch.testing.assert_close(fitted.embeddings(x), expected)


def test_rows_sum_to_two() -> None:
    q, k = torch.randn(2, 1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(correlative_attention(q, k, torch.ones(1, 2, 5, 4)), torch.full((1, 2, 5, 4), 2.0))


@pytest.mark.parametrize("colours", [False, True])
def test_patches_that_are_like_themselves_alone_are_maskclip(
    vit: Backbone, colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = DenseColours() if colours else vit
    monkeypatch.setattr(SCLIP, "attend", lambda self, q, k, v, bias=None: v * (2 if colours else 1))
    pictures = Pictures((photo(0, 30, 60), photo(1, 47, 21)))
    plain = MaskCLIP(windows=SMALL).fit(Kit({"main": backbone}), NAMES, Evidence(), Run())
    for one, other in zip(fit(backbone).regions(pictures, Run()), plain.regions(pictures, Run()), strict=True):
        torch.testing.assert_close(one.scores.values, other.scores.values)
        assert one.size == other.size


def test_very_sharp_cells_are_alone_and_flat_ones_all_alike() -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    dense = DenseColours().dense()
    m = dense.maps(x)[-1]
    alone = dense.project(m.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(fit(DenseColours(), sharpness=1e6).embeddings(x), alone)
    flat = fit(DenseColours(), sharpness=0.0).embeddings(x)
    torch.testing.assert_close(flat, flat.mean((2, 3), keepdim=True).expand_as(flat))


def test_maps_are_averaged_cosines_of_patches_and_texts(vit: Backbone) -> None:
    """One window of the tower's own size."""
    picture = photo(1)
    fitted = SCLIP(windows=Windows(32, 32, 16)).fit(Kit({"main": vit}), NAMES, Evidence(), Run())
    (regions,) = fitted.regions(Pictures((picture,)), Run())
    with torch.no_grad():
        z = F.normalize(fitted.embeddings(torch.as_tensor(vit.image.inputs([picture]))), dim=1)
        logits = vit.scale()[0] * torch.einsum("bdhw,kd->bkhw", z, text_head(vit, NAMES.prompts(), Run()))
    expected = F.interpolate(logits, (32, 32), mode="bilinear")[0]
    torch.testing.assert_close(dense_map(regions), expected, rtol=1e-4, atol=1e-4)


def test_wrong_parameters_are_refused() -> None:
    refused(SCLIP, {"sharpness": -0.1})
