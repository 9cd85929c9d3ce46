from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diptych.nn.spaces.aligned_frames import AlignedFrames, ClipPrompts, Integration, gap, per_frame, soft_mask


def mask_by_loop(x: float, y: float, height: int, width: int) -> np.ndarray:
    def weight(u: float, p: float) -> float:
        return 1.0 if abs(u - p) <= 0.25 else max(0.0, 1 - 1.5 * (abs(u - p) - 0.25))

    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            out[i, j] = weight(2 * i / (height - 1) - 1, y) * weight(2 * j / (width - 1) - 1, x)
    return out


@pytest.mark.parametrize("shift", [None, 0.2, 0.05])
def test_masks_are_those_of_a_loop(shift: float | None) -> None:
    x, y = 0.3, -0.6
    moves = [(0.0, 0.0)] if shift is None else [(i * shift, j * shift) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    expected = np.mean([mask_by_loop(x + i, y + j, 7, 5) for i, j in moves], axis=0)
    ours = soft_mask(torch.tensor([[x, y]], dtype=torch.float64), (7, 5), shift)
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-12)


def test_frames_from_pairs() -> None:
    pre, cur = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    assert per_frame(pre, cur).tolist() == [[1.0, (2 + 10) / 2, (3 + 20) / 2, 30.0]]
    assert per_frame(pre[:, :1], cur[:, :1]).tolist() == [[1.0, 10.0]]


def test_the_gap_is_one_less_the_cosine_of_the_summed_maps() -> None:
    pre, cur = torch.randn(2, 2, 1, 3, 4, 4, 4, dtype=torch.float64)
    a, b = (m.numpy().reshape(2, 3, 4, 16).sum(-1) for m in (pre.movedim(0, 0)[:, 0], cur[:, 0]))
    a, b = a.transpose(0, 1, 2), b.transpose(0, 1, 2)
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert gap(pre[:, 0], cur[:, 0]).item() == pytest.approx(1 - cosine.mean())
    assert gap(pre[:, 0], 3 * pre[:, 0]).item() == pytest.approx(0, abs=1e-9)


def test_a_block_adds_nothing_at_first_and_sees_neighbours_alone_later() -> None:
    torch.manual_seed(0)
    block = AlignedFrames(12, 16).eval()
    h = torch.randn(5, 17, 12)  # one clip of five frames
    with torch.no_grad():
        more, _, points = block(h, 5, (4, 4), 1)
        assert more.abs().max() == 0
        assert points.abs().max() == 0
        for layer in (block.aligned, block.interactive):
            torch.nn.init.normal_(layer.weight)
        before = block(h, 5, (4, 4), 1)[0]
        other = h.clone()
        other[0] += 1.0 + torch.randn(17, 12)
        apart = (block(other, 5, (4, 4), 1)[0] - before).abs().amax((1, 2))
    assert (apart[:3] > 1e-4).all()  # pairs of frame 0, joined and convolved over three frames, reach frame 2
    assert apart[3:].max() < 1e-5


def test_masked_maps_are_the_frame_times_its_mean_mask() -> None:
    torch.manual_seed(1)
    block = AlignedFrames(6, 16).eval()
    torch.nn.init.eye_(block.aligned.weight)
    assert block.points.last.bias is not None
    block.points.last.bias.data = torch.tensor([0.5, -1.0, 2.0, 0.3])
    h = torch.randn(3, 10, 6)
    with torch.no_grad():
        more, _, points = block(h, 3, (3, 3), 1)
        a = block.norm(block.enter(h))
    (x1, y1), (x2, y2) = points[0, 0].tolist()
    first, second = (mask_by_loop(x, y, 3, 3).reshape(9, 1) for x, y in ((x1, y1), (x2, y2)))
    masks = [first, (first + second) / 2, second]  # the points of all pairs are equal, as they come from the bias alone
    for t in range(3):
        np.testing.assert_allclose(more[t, 1:].numpy(), a[t, 1:].numpy() * masks[t], atol=1e-5)
        torch.testing.assert_close(more[t, :1], a[t, :1])
    assert points[0, 0, 0, 0].item() == pytest.approx(0.75 * math.tanh(0.5))


@torch.no_grad()
def test_what_a_pair_shows_is_halved_joined_and_convolved_over_time() -> None:
    torch.manual_seed(2)
    block = AlignedFrames(6, 16).eval()
    torch.nn.init.eye_(block.interactive.weight)
    h = torch.randn(4, 7, 6)  # one clip of four frames of 2 x 3 patches
    a = block.norm(block.enter(h))
    maps = a[:, 1:].transpose(1, 2).reshape(4, 6, 2, 3)
    g = [block.interact(torch.cat([maps[t], maps[t + 1]])[None])[0] for t in range(3)]
    joined = [g[0][:8], *((g[t][:8] + g[t - 1][8:]) / 2 for t in (1, 2)), g[2][8:]]
    kernel, bias = block.time.weight[..., 0, 0], block.time.bias
    assert bias is not None
    more = block(h, 4, (2, 3), 1)[0]
    for t in range(4):
        near = [(k, t + k - 1) for k in range(3) if 0 <= t + k - 1 < 4]
        mixed = torch.stack([torch.einsum("oc,chw->ohw", kernel[:, :, k], joined[u]) for k, u in near]).sum(0)
        mixed = mixed + bias[:, None, None]
        expected = mixed.flatten(1).T @ block.leave.weight.T + block.leave.bias
        torch.testing.assert_close(more[t, 1:], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(more[t, :1], a[t, :1])


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (3, 5), (7, 7)])
def test_grids_of_any_size(grid: tuple[int, int]) -> None:
    block = AlignedFrames(8, 16).train()
    more, apart, points = block(torch.randn(4, 1 + grid[0] * grid[1], 8), 2, grid, 1, 0.2)
    assert more.shape == (4, 1 + grid[0] * grid[1], 8)
    assert torch.isfinite(apart)
    assert points.shape == (2, 1, 2, 2)


def test_integration_knows_the_order_and_prompts_the_clip() -> None:
    torch.manual_seed(2)
    integrate, prompts = Integration(16, 4).eval(), ClipPrompts(8, 16).eval()
    integrate.positions.data.normal_()
    x = torch.randn(2, 4, 16)
    with torch.no_grad():
        assert not torch.allclose(integrate(x), integrate(x.flip(1)), atol=1e-3)
        integrate.positions.data.zero_()
        torch.testing.assert_close(integrate(x), integrate(x.flip(1)))
        texts, seen = torch.randn(3, 16), torch.randn(2, 9, 8)
        out = prompts(texts, seen)
        assert out.shape == (2, 3, 16)
        assert not torch.allclose(out[0], out[1])
        prompts.alpha.data.zero_()
        torch.testing.assert_close(prompts(texts, seen)[1], texts)


@torch.no_grad()
def test_integration_and_prompts_are_those_of_x_clip() -> None:
    """Against transformers' X-CLIP, with two heads, on our weights."""
    from transformers import XCLIPConfig, XCLIPVisionConfig
    from transformers.models.x_clip import modeling_x_clip as library

    torch.manual_seed(3)
    integrate, prompts = Integration(128, 4).eval(), ClipPrompts(24, 128).eval()
    for p in (*integrate.parameters(), *prompts.parameters()):
        p.copy_(torch.randn(p.shape) * 0.2)
    for layer in prompts.layers:
        layer.attend.in_proj_bias.zero_()  # the library's have none
    theirs = library.XCLIPMultiframeIntegrationTransformer(
        XCLIPVisionConfig(
            hidden_size=128, intermediate_size=512, num_attention_heads=2, num_hidden_layers=1, num_frames=4
        )
    ).eval()
    own, block = integrate.state_dict(), {}
    for i, name in enumerate(("q", "k", "v")):
        for kind in ("weight", "bias"):
            block[f"self_attn.{name}_proj.{kind}"] = own[f"layer.self_attn.in_proj_{kind}"].chunk(3)[i]
    for kind in ("weight", "bias"):
        for a, b in (
            ("self_attn.out_proj", "self_attn.out_proj"), ("layer_norm1", "norm1"), ("layer_norm2", "norm2"),
            ("mlp.fc1", "linear1"), ("mlp.fc2", "linear2"),
        ):  # fmt: skip
            block[f"{a}.{kind}"] = own[f"layer.{b}.{kind}"]
    theirs.load_state_dict(
        {"position_embedding": own["positions"][None], **{f"encoder.layers.0.{n}": t for n, t in block.items()}}
    )
    x = torch.randn(3, 4, 128)
    torch.testing.assert_close(integrate(x), theirs(x).pooler_output, rtol=1e-4, atol=1e-4)

    generator = library.XCLIPPromptGenerator(
        XCLIPConfig(projection_dim=128, prompt_num_attention_heads=2, prompt_layers=2)
    ).eval()
    own, told = prompts.state_dict(), {"layernorm.weight": "after.weight", "layernorm.bias": "after.bias"}
    found = {"alpha": own["alpha"], **{a: own[b] for a, b in told.items()}}
    for i in range(2):
        for k, name in enumerate(("q", "k", "v")):
            weight = own[f"layers.{i}.attend.in_proj_weight"].chunk(3)[k]
            found[f"decoder.{i}.cross_attn.{name}_proj.weight"] = weight
        for kind in ("weight", "bias"):
            for a, b in (
                ("cross_attn.proj", "attend.out_proj"), ("norm1", "before"), ("norm3", "between"), ("mlp.0", "wide"),
                ("mlp.3", "narrow"),
            ):  # fmt: skip
                found[f"decoder.{i}.{a}.{kind}"] = own[f"layers.{i}.{b}.{kind}"]
    generator.load_state_dict(found)
    texts, h = torch.randn(5, 128), torch.randn(2 * 4, 9, 24)
    visual = torch.nn.functional.layer_norm(h, (24,), own["norm.weight"], own["norm.bias"]) @ own["project.weight"].T
    visual = visual.view(2, 4, 9, 128).mean(1)  # as XCLIPModel does
    expected = texts + generator(texts.expand(2, -1, -1), visual)
    torch.testing.assert_close(prompts(texts, prompts.read(h, 4)), expected, rtol=1e-4, atol=1e-4)
