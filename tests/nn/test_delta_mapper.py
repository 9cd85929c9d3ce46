from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from diptych.nn.delta_mapper import DeltaMapper, EqualLayer, direction, levels_of, movable, pixel_norm, terms

FFHQ = (512,) * 10 + (256,) * 2 + (128,) * 2 + (64,) * 2 + (32,)


def test_levels_of_the_paper_s_generator_and_of_others() -> None:
    assert levels_of(FFHQ, (3, 4)) == [(0, 3, 512), (1536, 4, 512), (3584, 1, 2464)]
    assert levels_of((3, 12, 10, 3), (3, 4)) == [(0, 1, 25), (25, 1, 3)]
    assert levels_of((64, 64, 64, 64, 32, 32, 16), (3, 4)) == [(0, 3, 64), (192, 1, 144)]
    assert levels_of((8, 8), (0, 1)) == [(0, 1, 8), (8, 1, 8)]


def test_the_paper_s_mapper_has_as_many_weights_as_the_authors_state() -> None:
    with torch.device("meta"):
        mapper = DeltaMapper(FFHQ, 512)
    assert round(sum(p.numel() for p in mapper.parameters()) / 1e6, 2) == 82.76


def test_pixel_norm_goes_over_the_layers_or_over_the_channels() -> None:
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for norm, axis in (("reference", 1), ("channels", 2)):
        expected = x.numpy() / np.sqrt((x.numpy() ** 2).mean(axis, keepdims=True) + 1e-8)
        np.testing.assert_allclose(pixel_norm(x, norm).numpy(), expected, rtol=1e-5)  # type: ignore[arg-type]
    flat = x[:, 0]
    assert torch.equal(pixel_norm(flat, "reference"), pixel_norm(flat, "channels"))


def stack(x: np.ndarray, layers: torch.nn.Module) -> np.ndarray:  # type: ignore[type-arg]
    for layer in layers.children():
        assert isinstance(layer, EqualLayer)
        weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
        x = 0.01 / math.sqrt(weight.shape[1]) * weight @ x + 0.01 * bias
        x = np.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    return x


def test_the_mapper_against_loops_over_levels_and_layers() -> None:
    torch.manual_seed(0)
    mapper = DeltaMapper((6, 6, 6, 5, 4), 3)
    for p in mapper.parameters():
        if p.ndim == 1:
            torch.nn.init.normal_(p, std=30.0)
    s, i, d = torch.randn(2, 27), torch.randn(2, 3), torch.randn(2, 3)
    found = mapper(s, i, d).detach().numpy()
    for b in range(2):
        c = np.concatenate([i[b].numpy(), d[b].numpy()]).astype(np.float64)
        c = c / np.sqrt((c**2).mean() + 1e-8)
        own = s[b].double().numpy()
        coarse, fine = own[:18].reshape(3, 6), own[18:]
        coarse = coarse / np.sqrt(
            (coarse**2).mean(0, keepdims=True) + 1e-8
        )  # over the layers, as the authors' code does
        fine = fine / np.sqrt((fine**2).mean() + 1e-8)
        expected = []
        for level, rows in ((0, list(coarse)), (1, [fine])):
            wanted = stack(c, mapper.condition[level])
            expected += [
                stack(np.concatenate([stack(row, mapper.style[level]), wanted]), mapper.fusion[level]) for row in rows
            ]
        np.testing.assert_allclose(found[b], np.concatenate(expected), rtol=1e-3, atol=1e-4)


def test_inner_width_is_the_level_s_or_as_asked() -> None:
    torch.manual_seed(0)
    narrow: Tensor = DeltaMapper((6, 5), 3, width=16)(torch.randn(2, 11), torch.randn(2, 3), torch.randn(2, 3))
    assert narrow.shape == (2, 11)


def test_the_loss_against_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    predicted, wanted = torch.randn(5, 7, generator=g), torch.randn(5, 7, generator=g)
    squared, cosine = 0.0, 0.0
    for p, w in zip(predicted.double().numpy(), wanted.double().numpy(), strict=True):
        squared += sum((a - b) ** 2 for a, b in zip(p, w, strict=True)) / 7
        cosine += 1 - (p @ w) / (math.sqrt(p @ p) * math.sqrt(w @ w))
    found = terms(predicted, wanted)
    assert found["squared"].item() == pytest.approx(squared / 5, rel=1e-5)
    assert found["cosine"].item() == pytest.approx(cosine / 5, rel=1e-5)
    assert all(v.item() == pytest.approx(0, abs=1e-6) for v in terms(wanted, wanted).values())


def test_the_mask_against_a_loop_and_its_limits() -> None:
    g = torch.Generator().manual_seed(0)
    relevance, d = torch.randn(9, 4, generator=g), torch.randn(3, 4, generator=g)
    found = movable(relevance, d, 0.7)
    for b in range(3):
        for c in range(9):
            assert bool(found[b, c]) == (abs(sum(float(relevance[c, k]) * float(d[b, k]) for k in range(4))) >= 0.7)
    assert torch.equal(movable(relevance, d[1], 0.7), found[1])
    assert movable(relevance, d, 0.0).all()
    assert not movable(relevance, d, math.inf).any()
    assert not movable(relevance, torch.zeros(4), 0.0).any()


def test_directions_are_unit_and_tiny_ones_are_divided_by_the_floor() -> None:
    a = torch.tensor([1.0, 0.0])
    assert direction(a, torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])
    assert direction(a, a + torch.tensor([0.0, 1e-6])).tolist() == pytest.approx([0.0, 0.1])
