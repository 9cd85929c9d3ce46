"""Two states of a patch, normal and anomalous: its streams, its maps and their losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Backbone
from diptych.nn.dense.anomaly_states import patch_streams, state_losses
from diptych.nn.dense.mask_losses import dice_loss, focal_loss
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_the_local_stream_equals_open_clips_own_layers(vit: Backbone) -> None:
    """Both streams by hand, on open_clip's modules: x + out_proj(softmax(v v^T / sqrt(d)) v), v of the ordinary
    stream.
    """
    x, visual = noise(2, 3, 32, 32), vit.module().visual
    assert isinstance(visual, torch.nn.Module)
    net: Any = visual
    with torch.no_grad():
        whole, patches = patch_streams(vit.tower("image"), x, (1, 2), 0)
        h = net.conv1(x).flatten(2).transpose(1, 2)
        h = torch.cat([net.class_embedding.expand(2, 1, -1), h], dim=1) + net.positional_embedding
        ordinary = local = net.ln_pre(h)
        for number, block in enumerate(net.transformer.resblocks, start=1):
            attn, width = block.attn, ordinary.shape[-1]
            v = F.linear(block.ln_1(ordinary), attn.in_proj_weight[2 * width :], attn.in_proj_bias[2 * width :])
            v = v.unflatten(2, (attn.num_heads, -1)).transpose(1, 2)
            mixed = (v @ v.transpose(2, 3) * v.shape[-1] ** -0.5).softmax(-1) @ v
            local = local + attn.out_proj(mixed.transpose(1, 2).flatten(2))
            ordinary = block(ordinary)
            expected = net.ln_post(local[:, 1:]) @ net.proj
            torch.testing.assert_close(patches[:, number - 1], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(whole, vit.image.encode(x), rtol=1e-4, atol=1e-5)
        bare, _ = patch_streams(vit.tower("image"), x, (1, 2), 0, class_norm=False)
        torch.testing.assert_close(bare, ordinary[:, 0] @ net.proj, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(bare, whole, atol=1e-3)


def test_depths_are_kept_apart_and_the_image_does_not_feel_the_local_stream(vit: Backbone) -> None:
    x, tower = noise(1, 3, 32, 32), vit.tower("image")
    with torch.no_grad():
        _, both = patch_streams(tower, x, (1, 2), 0)
        _, last = patch_streams(tower, x, (2,), 0)
        assert not torch.allclose(both[:, 0], both[:, 1])
        torch.testing.assert_close(both[:, 1], last[:, 0])
        whole, plain = patch_streams(tower, x, (2,), 0, "query-key")
        assert not torch.allclose(plain, last)
        torch.testing.assert_close(whole, vit.image.encode(x), rtol=1e-4, atol=1e-5)


def test_losses_are_of_the_image_and_of_each_depth() -> None:
    z, head = F.normalize(noise(2, 3, 4, 5), dim=-1), F.normalize(noise(2, 5, seed=1), dim=-1)
    y, mask = torch.tensor([0, 1]), torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    losses = state_losses(head, {"z": z, "y": y, "mask": mask}, 0.07, 4.0)
    shares = (z @ head.T / 0.07).softmax(-1)
    torch.testing.assert_close(losses["image"], -shares[[0, 1], 0, 0, y].log().mean())
    pixels = torch.zeros(())
    for depth in (1, 2):
        s = shares[:, depth].transpose(1, 2).reshape(2, 2, 2, 2)
        pixels = pixels + focal_loss(s, mask) + dice_loss(s[:, 1], mask) + dice_loss(s[:, 0], 1 - mask)
    torch.testing.assert_close(losses["pixels"], 4 * pixels)
    assert list(state_losses(head, {"z": z, "y": y}, 0.07, 4.0)) == ["image"]
