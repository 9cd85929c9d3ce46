"""Dense maps: the encoder's own pooling is the encoder, weights are regions, cells are patches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from diptych.backbones.dense import ConvDense, ResNetDense, dense_of
from diptych.core import Dense, MissingHook
from tests.support.towers import IMAGES, case, close, randomised, resnet, spec

OWN_POOLING = [
    "open_clip ViT, LayerScale, mean, no ln_pre",
    "open_clip ViT, norm after mean",
    "timm ViT, mean, fc_norm",
    "timm ViT, SigLIP pool",
    "timm EVA, LayerScale, mean",
    "timm EVA, mixed RoPE",
    "timm DINOv3, grouped heads",
    "open_clip timm ViT",
    "HF SigLIP image",
]


def conv(name: str) -> tuple[nn.Module, Tensor, int]:
    """A module, an input, the joint width."""
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    match name:
        case "ModifiedResNet":
            return resnet(), x[..., :64], 16
        case "ConvNeXt in open_clip":
            return randomised(TimmModel("convnext_atto", embed_dim=16, pool="", proj="mlp")), x, 16
        case "ConvNeXt, norm before the pool":
            return randomised(timm.create_model("convnext_atto", num_classes=16, head_norm_first=True)), x, 16
        case "FastViT":
            return randomised(timm.create_model("fastvit_t8", num_classes=16)), x, 16
        case _:
            return randomised(timm.create_model("tf_efficientnet_lite0", num_classes=16)), x, 16


CONVS = ["ModifiedResNet", "ConvNeXt in open_clip", "ConvNeXt, norm before the pool", "EfficientNet-Lite0", "FastViT"]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("name", CONVS)
@torch.no_grad()
def test_conv_maps_pool_to_the_encoder(name: str) -> None:
    module, x, width = conv(name)
    dense = dense_of(module, spec(name))
    assert isinstance(dense, Dense)
    maps = dense.maps(x)
    assert all(m.std() > 1e-3 for m in maps)
    assert [tuple(m.shape[2:]) for m in maps] == [(x.shape[2] // s, x.shape[3] // s) for s in dense.strides]
    own = dense.project(dense.pool(maps[-1]))
    assert close(own[:, 0], module(x))
    ones = torch.ones(2, 3, *maps[-1].shape[2:])
    assert close(dense.pool(maps[-1], 0.25 * ones), dense.pool(maps[-1]).expand(-1, 3, -1))
    assert dense.project(torch.randn(2, 5, 7, maps[-1].shape[1])).shape == (2, 5, 7, width)


@pytest.mark.parametrize("name", OWN_POOLING)
@torch.no_grad()
def test_vit_maps_pool_to_the_encoder(name: str) -> None:
    c = case(name)
    dense = dense_of(c.module, spec(name))
    assert isinstance(dense, Dense)
    (m,) = dense.maps(c.x)
    assert close(dense.project(dense.pool(m))[:, 0], c.forward(c.x))
    assert close(dense.pool(m, torch.ones(len(m), 2, *m.shape[2:])), dense.pool(m).expand(-1, 2, -1))


@pytest.mark.parametrize("name", IMAGES)
@torch.no_grad()
def test_vit_maps_are_the_patches(name: str) -> None:
    c = case(name)
    dense: Any = dense_of(c.module, spec(name))
    (m,) = dense.maps(c.x)
    s = c.tower.blocks(c.tower.start(c.x))
    assert dense.strides == (c.tower.patch[0],)
    assert m.shape[2:] == s.grid
    h, w = m.shape[2:]
    patch = c.tower.norm(s.h[:, s.prefix + w + 2])
    if c.tower.pool is None:
        assert close(dense.project(m[:, :, 1, 2]), c.tower.project(patch))
    else:
        assert close(m[:, :, 1, 2], patch)
    one = torch.zeros(len(m), 1, h, w)
    one[:, :, 1, 2] = 3.0
    region = dense.pool(m, one)
    other = m.clone()
    other[:, :, 0, 0] += 5
    assert close(dense.pool(other, one), region)  # what lies outside a mask has no say
    if name not in OWN_POOLING:
        with pytest.raises(MissingHook, match="CLS"):
            dense.pool(m)


@pytest.mark.parametrize("name", ["ModifiedResNet", "EfficientNet-Lite0", "ConvNeXt in open_clip"])
@torch.no_grad()
def test_masks_select_and_empty_masks_give_zeros(name: str) -> None:
    module, x, _ = conv(name)
    dense = dense_of(module, spec(name))
    m = dense.maps(x)[-1]
    masks = torch.zeros(2, 2, *m.shape[2:])
    masks[:, 0, 0, :1] = 1
    regions = dense.pool(m, masks)
    assert (regions[:, 1] == 0).all()
    if name != "ModifiedResNet":
        assert close(regions[:, 0], m[:, :, 0, 0])
    other = torch.where(masks[:, :1] > 0, m, torch.randn_like(m))
    assert close(dense.pool(other, masks)[:, 0], regions[:, 0])


@torch.no_grad()
def test_empty_masks_give_zeros_in_attention_pools_too() -> None:
    for name in ("timm ViT, SigLIP pool", "HF SigLIP image", "open_clip ViT, CoCa pool"):
        c = case(name)
        dense = dense_of(c.module, spec(name))
        (m,) = dense.maps(c.x)
        assert dense.pool(m, torch.zeros(len(m), 1, *m.shape[2:])).isfinite().all()


@torch.no_grad()
def test_attention_pool_of_a_mask_is_attention_over_those_cells() -> None:
    """A SigLIP region is what the pool says of its tokens alone."""
    c = case("timm ViT, SigLIP pool")
    dense: Any = dense_of(c.module, spec("x"))
    (m,) = dense.maps(c.x)
    mask = torch.rand(len(m), 2, *m.shape[2:]) > 0.5
    regions = dense.pool(m, mask.float())
    for b in range(len(m)):
        for q in range(2):
            alone = m[b][:, mask[b, q]].T[None]
            assert close(regions[b, q], c.module.attn_pool(alone)[0])  # type: ignore[operator]


@torch.no_grad()
def test_modified_resnet_takes_images_of_any_size() -> None:
    dense = ResNetDense(resnet())
    m = dense.maps(torch.randn(1, 3, 96, 160))[-1]
    assert m.shape[2:] == (3, 5)
    assert dense.project(dense.pool(m)).shape == (1, 1, 16)


def test_gradients_reach_the_map_and_soft_masks() -> None:
    for name in CONVS:
        module, x, _ = conv(name)
        dense = dense_of(module, spec(name))
        with torch.no_grad():
            m = dense.maps(x)[-1]
        m.requires_grad_()
        weights = torch.rand(2, 2, *m.shape[2:]).round().requires_grad_()
        dense.project(dense.pool(m, weights)).square().sum().backward()
        assert m.grad is not None
        assert m.grad.isfinite().all()
        assert weights.grad is not None
        assert weights.grad.isfinite().all()
        assert weights.grad.abs().sum() > 0


def test_a_head_of_ours_follows_the_trunk() -> None:
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    dense = ConvDense(trunk, nn.Linear(1280, 8), "lite")
    assert dense.project(torch.randn(2, 3, 1280)).shape == (2, 3, 8)


def test_what_has_no_dense_maps_says_so() -> None:
    with pytest.raises(MissingHook):
        dense_of(nn.Linear(1, 1), spec("x"))
    with pytest.raises(MissingHook, match="mean"):
        dense_of(timm.create_model("tf_efficientnet_lite0", num_classes=16, global_pool="max"), spec("x"))
    with pytest.raises(MissingHook, match="mean"):
        dense_of(TimmModel("convnext_atto", embed_dim=16, image_size=224, pool="rot_attn", proj=""), spec("x"))
