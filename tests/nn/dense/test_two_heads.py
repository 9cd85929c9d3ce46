from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from diptych.nn.dense.two_heads import TwoHeads, clip_loss, mask_loss, prompted
from tests.support.sam import SIDE, small_sam


@pytest.fixture(scope="module")
def student() -> TwoHeads:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TwoHeads(small_sam(), 6, 24).eval()


def pixels(count: int = 2, side: int = SIDE) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_head_of_clip_by_the_library_module(student: TwoHeads) -> None:
    """Tokens before the neck, then the last block three times over, pooled by the largest value of each channel."""
    x, encoder = pixels(), small_sam().vision_encoder
    h = encoder.patch_embed(x) + encoder.pos_embed
    for layer in encoder.layers:
        h = layer(h)
        h = h[0] if isinstance(h, tuple) else h
    torch.testing.assert_close(student.tokens(x), h, atol=1e-5, rtol=1e-4)
    for _ in range(3):
        h = encoder.layers[-1](h)
        h = h[0] if isinstance(h, tuple) else h
    w = {k: v.numpy() for k, v in student.state_dict().items() if not k.startswith(("sam.", "blocks."))}

    def mlp(v: np.ndarray) -> np.ndarray:
        v = (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5) * w["norm.weight"] + w[
            "norm.bias"
        ]
        for i in (0, 2, 4):
            v = v @ w[f"mlp.{i}.weight"].T + w[f"mlp.{i}.bias"]
            v = v if i == 4 else F.gelu(torch.from_numpy(v)).numpy()
        return v

    largest = np.array([[h[b, :, :, c].max() for c in range(h.shape[3])] for b in range(2)])
    np.testing.assert_allclose(student.pooled(student.tokens(x)).numpy(), mlp(largest), atol=1e-4)
    np.testing.assert_allclose(student.dense(student.tokens(x)).permute(0, 2, 3, 1).numpy(), mlp(h.numpy()), atol=1e-4)


@torch.no_grad()
def test_masks_begin_as_those_of_sam(student: TwoHeads) -> None:
    x, sam = pixels(), small_sam()
    points, boxes = (
        torch.tensor([[[10.0, 20.0]], [[50.0, 5.0]]]),
        torch.tensor([[[4.0, 4, 40, 60]], [[0.0, 0, 64, 64]]]),
    )
    ours = student.decoded(student.tokens(x), points, boxes)
    for b in range(2):
        for i, asked in enumerate(({"input_points": points[b, None, None]}, {"input_boxes": boxes[b, None]})):
            theirs = sam(pixel_values=x[b, None], multimask_output=False, **asked).pred_masks[0, 0, 0]
            torch.testing.assert_close(ours[b, i], theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prompted(sam, student.neck(student.tokens(x)), points, boxes), ours)


def test_another_size_has_another_grid(student: TwoHeads) -> None:
    assert student.dense(student.tokens(pixels(1, 2 * SIDE))).shape == (1, 6, 16, 16)


def test_parts_cover_all_parameters(student: TwoHeads) -> None:
    parts = dict(student.named_parts())
    assert set(parts) == {n for n, _ in student.named_parameters()}
    assert set(parts.values()) == {"head", "encoder", "decoder", "prompts"}
    assert parts["blocks.0.attn.qkv.weight"] == parts["mlp.0.weight"] == "head"


def test_losses_by_loops() -> None:
    g = torch.Generator().manual_seed(0)
    v, t = torch.randn(3, 4, generator=g), torch.randn(3, 4, generator=g)
    expected = np.mean(
        [1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(v.numpy(), t.numpy(), strict=True)]
    )
    assert float(clip_loss(v, t)) == pytest.approx(float(expected), rel=1e-5)
    logits, z = torch.randn(2, 1, 3, 3, generator=g), torch.rand(2, 1, 3, 3, generator=g)
    focal, dice = 0.0, 0.0
    for m, s in zip(logits[:, 0].double().numpy(), z[:, 0].double().numpy(), strict=True):
        p = 1 / (1 + np.exp(-m))
        entropy = -(s * np.log(p) + (1 - s) * np.log(1 - p))
        focal += ((0.25 * s + 0.75 * (1 - s)) * (p - s) ** 2 * entropy).mean() / 2
        dice += (1 - (2 * (p * s).sum() + 1) / ((p * p).sum() + (s * s).sum() + 1)) / 2
    assert float(mask_loss(logits, z)) == pytest.approx(20 * focal + dice, rel=1e-4)


def test_no_student_is_better_than_one_that_draws_as_the_teacher() -> None:
    """The losses of SAM for masks of 0 and 1 are lower for masks that are surer than a soft teacher."""
    g = torch.Generator().manual_seed(0)
    z = (2 * torch.randn(1, 3, 8, 8, generator=g)).sigmoid()
    same = z.logit().requires_grad_()
    loss = mask_loss(same, z)
    (gradient,) = torch.autograd.grad(loss, [same])
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(gradient.norm()) == pytest.approx(0.0, abs=1e-6)
    for surer in (0.5, 0.9, 1.1, 2.0, 4.0):
        assert float(mask_loss(surer * same.detach(), z)) > 1e-3


def test_on_masks_of_0_and_1_the_focal_loss_is_the_librarys() -> None:
    g = torch.Generator().manual_seed(0)
    logits, z = torch.randn(2, 3, 4, 4, generator=g), (torch.rand(2, 3, 4, 4, generator=g) > 0.5).float()
    p = logits.sigmoid().flatten(2)
    dice = 1 - (2 * (p * z.flatten(2)).sum(2) + 1) / (p.square().sum(2) + z.flatten(2).sum(2) + 1)
    focal = sigmoid_focal_loss(logits, z, alpha=0.25, gamma=2, reduction="mean")
    assert float(mask_loss(logits, z)) == pytest.approx(float(20 * focal + dice.mean()), rel=1e-5)
    sure = 40 * z - 20
    assert float(mask_loss(sure, z)) < 1e-3
