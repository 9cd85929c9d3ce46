from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.backbones.dense import dense_of
from diptych.core import Backbone, ClassNames, Evidence, Kit, MissingHook, Run
from diptych.features.heads import text_head
from diptych.methods.segment.maskclip import MaskCLIP, denoised
from diptych.nn.dense.label_maps import Windows, dense_map, label_map
from diptych.nn.dense.patches import cell_embeddings, patch_embeddings
from tests.support.dense_colours import ColourDense
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.small_clip import small_clip
from tests.support.towers import IMAGES, case, close, pixels, resnet, spec

NAMES = ClassNames(("cat", "dog", "red barn"))
SMALL = Windows(side=40, window=32, stride=16)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


@pytest.fixture(scope="module")
def photos() -> Pictures:
    rng = np.random.default_rng(0)
    sizes = ((30, 60), (47, 21), (16, 16))
    return Pictures(tuple(Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes))


@torch.no_grad()
def test_equals_the_weights_by_hand() -> None:
    """open_clip's own block, its attention replaced by W_o (W_v x + b_v) + b_o."""
    c = case("open_clip CLIP image")
    v: Any = c.module.visual
    block = v.transformer.resblocks[-1]
    x = v.transformer.resblocks[0](v._embeds(c.x))
    width = x.shape[-1]
    values = F.linear(block.ln_1(x), block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :])
    attended = block.ls_1(block.attn.out_proj(values))
    y = x + attended
    z = y + block.ls_2(block.mlp(block.ln_2(y)))

    def embedded(h: torch.Tensor) -> torch.Tensor:
        return (v.ln_post(h[:, 1:]) @ v.proj).transpose(1, 2).reshape(3, -1, 4, 4)

    assert close(patch_embeddings(c.tower, c.x), embedded(z))
    assert close(patch_embeddings(c.tower, c.x, "value-only"), embedded(attended))
    assert close(patch_embeddings(c.tower, c.x, "tokens"), embedded(block(x)))


@torch.no_grad()
def test_a_resnets_cell_is_its_value() -> None:
    """Without positions it is the paper's pair of 1 x 1 convolutions."""
    v: Any = resnet()
    v.attnpool.positional_embedding.zero_()
    dense, x = dense_of(v, spec("resnet")), pixels(64, 2)
    m = dense.maps(x)[-1]
    value, out = (layer.weight[:, :, None, None] for layer in (v.attnpool.v_proj, v.attnpool.c_proj))
    assert close(
        cell_embeddings(dense, m), F.conv2d(F.conv2d(m, value, v.attnpool.v_proj.bias), out, v.attnpool.c_proj.bias)
    )


def test_cells_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, m = ColourDense(), torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    whole = cell_embeddings(dense, m)
    assert torch.equal(whole, dense.project(m.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    for block in (3, 35 * 4, 35 * 35):
        monkeypatch.setattr("diptych.nn.dense.patches.BLOCK", block)
        assert torch.equal(cell_embeddings(dense, m), whole)


@pytest.mark.parametrize("name", IMAGES)
@torch.no_grad()
def test_every_tower_gives_a_map_in_the_joint_space(name: str) -> None:
    c = case(name)
    got = patch_embeddings(c.tower, c.x)
    side = c.x.shape[-1] // c.tower.patch[0]
    assert got.shape == (len(c.x), c.forward(c.x).shape[1], side, side)
    assert torch.isfinite(got).all()


@torch.no_grad()
def test_a_mean_pooled_towers_tokens_average_to_its_vector() -> None:
    """Where tokens are normed before the mean and the head is linear, the embedding is the mean of the patch
    embeddings.
    """
    c = case("timm ViT, mean, fc_norm")
    c.module.fc_norm, norm = torch.nn.Identity(), c.module.fc_norm
    try:
        assert close(patch_embeddings(c.tower, c.x, "tokens").mean((2, 3)), c.forward(c.x))
    finally:
        c.module.fc_norm = norm


def test_maps_are_averaged_cosines_of_patches_and_texts(vit: Backbone, photos: Pictures) -> None:
    """One window of the tower's own size: logits of the patches, upsampled."""
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    fitted = MaskCLIP(windows=Windows(32, 32, 16)).fit(Kit({"main": vit}), NAMES, Evidence(), Run())
    (regions,) = fitted.regions(Pictures((picture,)), Run())
    with torch.no_grad():
        x = vit.image.inputs([picture])
        z = F.normalize(patch_embeddings(vit.tower("image"), torch.as_tensor(x)), dim=1)
        head = text_head(vit, NAMES.prompts(), Run())
        logits = vit.scale()[0] * torch.einsum("bdhw,kd->bkhw", z, head)
    expected = F.interpolate(logits, (32, 32), mode="bilinear")[0]
    assert regions.size == regions.grid == (32, 32)
    torch.testing.assert_close(dense_map(regions), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["resnet", "convnext", "siglip", "eva"])
def test_other_families_have_maps_too(family: str, tmp_path: Path) -> None:
    backbone = small_clip(tmp_path / family, family)
    side = 2 * backbone.spec.pixels.size
    windows = Windows(side // 2, side // 2, side // 4)
    picture = Pictures((Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8)),))
    (regions,) = (
        MaskCLIP(windows=windows).fit(Kit({"main": backbone}), NAMES, Evidence(), Run()).regions(picture, Run())
    )
    assert label_map(regions).shape == (40, 50)
    assert torch.isfinite(regions.scores.values).all()


def test_a_tower_is_needed_for_the_other_blocks(tmp_path: Path) -> None:
    backbone = small_clip(tmp_path / "convnext", "convnext")
    with pytest.raises(MissingHook, match="cut in blocks"):
        MaskCLIP(block="tokens").fit(Kit({"main": backbone}), NAMES, Evidence(), Run())


def test_classes_that_are_nowhere_sure_are_dropped_but_never_all() -> None:
    maps = torch.tensor([[[5.0, 0.0]], [[0.0, 0.5]], [[0.1, 0.6]]])  # probabilities at best 0.99, 0.36, 0.4
    assert denoised(maps, 0.5).argmax(0).tolist() == [[0, 0]]
    assert torch.equal(denoised(maps, 0.0), maps)
    assert torch.equal(denoised(maps, 0.35), maps)
    flat = torch.zeros(3, 2, 2)
    assert torch.equal(denoised(flat, 0.9), flat)


@pytest.mark.parametrize("wrong", [{"block": "query"}, {"denoise": 1.0}, {"denoise": -0.1}])
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    refused(MaskCLIP, wrong)
