"""The networks of GALIP: what they are at the start, and their losses against NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from diptych.nn.bridge_gan import BridgeGenerator, GanLayout, MapDiscriminator, Modulation, hinge, matching_penalty

LAYOUT = GanLayout(4, 5, 6, 2, 3, 16, 8, 4, 4, 4, 8)
PAPER = GanLayout(100, 512, 768, 7, 8, 224, 512, 64, 64, 768, 512)


def test_modulation_begins_as_two_leaky_steps() -> None:
    h, y = torch.randn(2, 3, 4, 4), torch.randn(2, 9)
    torch.testing.assert_close(Modulation(9, 3)(h, y), torch.where(h > 0, h, 0.04 * h))


def test_the_generator_uses_noise_words_and_the_frozen_map() -> None:
    torch.manual_seed(0)
    net = BridgeGenerator(LAYOUT)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    z, t = torch.randn(2, 4), torch.randn(2, 5)

    def prompted(bridge, prompts):
        assert prompts.shape == (2, 3, 6)
        return bridge * prompts.sum((1, 2))[:, None, None, None]

    found = net(z, t, prompted)
    assert found.shape == (2, 3, 16, 16)
    for other in (net(z + 1, t, prompted), net(z, t + 1, prompted), net(z, t, lambda b, p: 0 * b)):
        assert not torch.allclose(found, other)


@pytest.mark.parametrize("grid", [2, 7, 8])
def test_the_discriminator_scores_grids_of_any_size_and_begins_on_the_first_map(grid) -> None:
    net = MapDiscriminator(replace(LAYOUT, grid=grid))
    maps, t = torch.randn(2, 3, 6, grid, grid), torch.randn(2, 5)
    scores = net(maps, t)
    assert scores.shape == (2,)
    other = maps.clone()
    other[:, 1:] = 0
    torch.testing.assert_close(net(other, t), scores)


def test_both_networks_have_the_sizes_of_the_paper() -> None:
    """Of ViT-B/32 at 224 pixels: 51.83 M, 28.71 M with two unused shortcuts, and 2.10 M for the score."""
    with torch.device("meta"):
        g, d = (net(PAPER) for net in (BridgeGenerator, MapDiscriminator))

    def millions(*parts) -> float:
        return round(sum(p.numel() for part in parts for p in part.parameters()) / 1e6, 2)

    shortcuts = 2 * (768 * 768 + 768) / 1e6
    assert millions(g) == 51.83
    assert millions(d.joint, d.score) == 2.10
    assert millions(d.convs, d.skip, d.block) + shortcuts == pytest.approx(28.71, abs=0.006)


def test_the_discriminator_against_its_formula() -> None:
    torch.manual_seed(0)
    net = MapDiscriminator(replace(LAYOUT, grid=7)).double()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    maps, t = torch.randn(2, 3, 6, 7, 7, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    w = {n: p.detach() for n, p in net.named_parameters()}

    def lrelu(h):
        return torch.maximum(h, 0.2 * h)

    def twice(h, name):
        for k in ("0", "2"):
            h = lrelu(conv2d(h, w[f"{name}.{k}.weight"], padding=1))
        return h

    h = maps[:, 0]
    for i in (0, 1):
        h = h + w["shares"][i, 0] * twice(h, f"convs.{i}") + w["shares"][i, 1] * maps[:, i + 1]
    h = conv2d(h, w["skip.weight"], w["skip.bias"]) + w["share"] * twice(h, "block")
    h = torch.cat([h, t[:, :, None, None].expand(-1, -1, 7, 7)], dim=1)
    scores = conv2d(lrelu(conv2d(h, w["joint.weight"])), w["score.weight"])
    torch.testing.assert_close(net(maps, t), scores.flatten())


def test_losses_against_numpy() -> None:
    real, fake, other = (torch.randn(6, dtype=torch.float64) for _ in range(3))
    r, f, o = (x.numpy() for x in (real, fake, other))
    expected = np.maximum(1 - r, 0).mean() + np.maximum(1 + f, 0).mean() / 2 + np.maximum(1 + o, 0).mean() / 2
    assert hinge(real, fake, other).item() == pytest.approx(expected)
    maps, t = torch.randn(3, 3, 2, 1, 1, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    scores = 2 * maps.flatten(1).sum(1) + 3 * t.sum(1)
    length = np.sqrt(6 * 2**2 + 2 * 3**2)
    assert matching_penalty(scores, maps, t, 0.5, 6).item() == pytest.approx(0.5 * length**6, rel=1e-5)
