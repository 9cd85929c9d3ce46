from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diptych.core import Run
from diptych.nn.dense.mask_queries import (
    STRIDES,
    WEIGHTS,
    Layer,
    MaskLayout,
    MaskQueries,
    best_word,
    four_maps,
    map_channels,
    opened,
    segments,
    set_losses,
)
from tests.support.dense_colours import DenseColours
from tests.support.refused import refused

SMALL = MaskLayout(queries=5, encoder=1, decoder=1, points=64)
CHANNELS = (3, 4, 5, 6)


def network(seed: int = 0) -> MaskQueries:
    with Run(seed=seed).seeded("test"):
        return MaskQueries(CHANNELS, 7, SMALL)


def maps(seed: int = 0, height: int = 32, width: int = 64) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, c, height // r, width // r, generator=g) for c, r in zip(CHANNELS, STRIDES, strict=True)]


@torch.no_grad()
def test_the_first_weights_are_those_of_the_librarys_own_model() -> None:
    """By their mean squares; a model whose class is not the library's would begin with masks that are all alike."""
    import transformers

    layout = MaskLayout(decoder=1)
    stages = [f"stage{i}" for i in range(1, 5)]
    config = layout.config()
    config.backbone_config = transformers.SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], image_size=64, out_features=stages
    )
    with Run().seeded("test"):
        whole = transformers.Mask2FormerModel(config)
        net = MaskQueries((8, 16, 32, 64), 7, layout)
    theirs = dict(whole.pixel_level_module.decoder.named_parameters(prefix="pixels"))
    theirs |= dict(whole.transformer_module.named_parameters(prefix="queries"))
    ours = dict(net.mask2former.named_parameters())
    assert ours.keys() == theirs.keys()
    as_published = bool(whole.pixel_level_module.decoder.level_embed.any())  # old releases begin with zeros
    for name, p in ours.items():
        if p.numel() > 1000 and as_published:
            assert p.std() == pytest.approx(float(theirs[name].std()), rel=0.1), name
    drawn = net([torch.randn(1, c, 64 // r, 64 // r) for c, r in zip((8, 16, 32, 64), STRIDES, strict=True)])[-1].masks
    assert drawn.std(1).mean() > 0.02  # between queries; it was 0.0015


@torch.no_grad()
def test_vectors_and_logits_by_loops() -> None:
    net = network().eval()
    layers = net(maps())
    parts = net.mask2former
    pixels = parts.pixels(maps())
    queries = parts.queries(pixels.multi_scale_features, pixels.mask_features).intermediate_hidden_states[-1]
    p, last = pixels.mask_features.double().numpy(), layers[-1]
    w = {k: v.double().numpy() for k, v in net.state_dict().items() if not k.startswith("mask2former")}
    words = F.normalize(torch.randn(4, 7, generator=torch.Generator().manual_seed(1)), dim=-1)
    owner = [1, 0, 1, 2]
    logits = net.logits(last.vectors, words, torch.tensor(owner))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net.logits(last.vectors, words, torch.tensor(owner)), logits)
    void = w["void"] / np.linalg.norm(w["void"])
    for b, q in np.ndindex(2, 5):
        inside = last.masks[b, q].numpy() > 0
        mean = p[b][:, inside].sum(1) / (inside.sum() + 1e-8)
        normed = (mean - mean.mean()) / np.sqrt(mean.var() + 1e-5) * w["before.0.weight"] + w["before.0.bias"]
        h = w["before.1.weight"] @ normed + w["before.1.bias"] + queries[q, b].double().numpy()
        for n in (0, 2):
            h = np.maximum(w[f"embed.{n}.weight"] @ h + w[f"embed.{n}.bias"], 0)
        v = w["embed.4.weight"] @ h + w["embed.4.bias"]
        v /= np.linalg.norm(v)
        np.testing.assert_allclose(last.vectors[b, q].numpy(), v, atol=2e-5)
        scale = min(np.exp(w["log_scale"]), 100)
        expected = [scale * max(v @ words[i].numpy() for i in range(4) if owner[i] == k) for k in range(3)]
        np.testing.assert_allclose(logits[b, q].numpy(), [*expected, scale * v @ void], atol=2e-4)


def test_best_word_by_loops() -> None:
    scores, owner = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)), [2, 0, 1, 1, 0, 2]
    expected = [[max(float(row[i]) for i in range(6) if owner[i] == k) for k in range(3)] for row in scores]
    torch.testing.assert_close(best_word(scores, torch.tensor(owner)), torch.tensor(expected))


class Strided:
    def __init__(self, *strides: int) -> None:
        self.strides = strides


def test_maps_of_the_four_strides_are_taken_as_they_are_and_others_resized() -> None:
    given = [torch.randn(1, 2, 64 // r, 96 // r) for r in (2, 4, 8, 16, 32)]
    dense: Any = Strided(2, 4, 8, 16, 32)
    assert all(a is b for a, b in zip(four_maps(dense, given), given[1:], strict=True))
    one: Any = Strided(16)
    assert [tuple(m.shape[2:]) for m in four_maps(one, given[3:4])] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    tiny = four_maps(one, [torch.ones(1, 2, 1, 1)])
    assert [m.shape[2] for m in tiny] == [4, 2, 1, 1]
    assert bool((tiny[0] == 1).all())


def test_channels_are_found_on_any_backbone() -> None:
    assert map_channels(DenseColours()) == (3, 3, 3, 3)


def test_segments_are_pairs_of_class_and_number() -> None:
    labels = torch.tensor([[[3, 3, 65535], [1, 3, 1]], [[1, 2, 0], [0, 2, 0]]])
    masks, classes = segments(labels)
    found = {(int(c), tuple(m.flatten().int().tolist())) for m, c in zip(masks, classes, strict=True)}
    assert found == {(1, (0, 0, 0, 1, 0, 1)), (3, (1, 0, 0, 0, 0, 0)), (3, (0, 1, 0, 0, 1, 0))}
    assert segments(torch.full((2, 4, 4), 65535))[0].shape == (0, 4, 4)


def test_right_masks_cost_less_than_wrong_ones_and_nothing_costs_nothing() -> None:
    net, words = network(), F.normalize(torch.eye(7)[:2], dim=-1)
    owner = torch.arange(2)
    labels = torch.zeros(1, 2, 32, 32, dtype=torch.int64)
    labels[:, 0, :, 16:] = 1
    halves = torch.where(labels[:, 0, ::4, ::4] == 1, -20.0, 20.0)
    masks = torch.stack([halves, -halves, *[torch.full_like(halves, -20.0)] * 3], dim=1)
    vectors = torch.stack([words[0], words[1], *[F.normalize(net.void, dim=0)] * 3])[None]

    def losses(layer: Layer, truth: torch.Tensor = labels) -> dict[str, float]:
        with Run().seeded("points"), torch.no_grad():
            return {k: float(v) for k, v in set_losses(net, [layer], truth, words, owner, SMALL).items()}

    right, names = losses(Layer(masks, vectors)), losses(Layer(masks, vectors[:, [1, 0, 2, 3, 4]]))
    assert right["dice"] < 0.5  # points lie where a mask is unsure, at the border of two grids
    assert right["cross_entropy"] < 0.1
    assert names["cross_entropy"] > right["cross_entropy"] + 0.5
    moved = losses(Layer(masks.roll(3, dims=-1), vectors))
    assert moved["mask"] > 3 * right["mask"]
    assert moved["dice"] > 2 * right["dice"]
    twice = set_losses(net, [Layer(masks, vectors)] * 2, labels, words, owner, SMALL)
    assert float(twice["cross_entropy"].detach()) == pytest.approx(2 * right["cross_entropy"], rel=1e-4)
    empty = losses(Layer(masks, vectors), torch.full_like(labels, 65535))
    assert empty == dict.fromkeys(WEIGHTS, 0.0)


def test_gradients_reach_every_parameter() -> None:
    net = network()
    labels = torch.randint(0, 2, (2, 1, 32, 64), generator=torch.Generator().manual_seed(0)).expand(-1, 2, -1, -1)
    words = F.normalize(torch.randn(3, 7, generator=torch.Generator().manual_seed(1)), dim=-1)
    with Run().seeded("points"):
        sum(set_losses(net, net(maps()), labels, words, torch.tensor([0, 1, 1]), SMALL).values()).backward()  # type: ignore[union-attr]
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


@torch.no_grad()
def test_weights_follow_the_seed_and_are_opened_without_touching_it() -> None:
    first, again, other = (network(s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(v, again[k]) for k, v in first.items())
    assert not torch.equal(first["void"], other["void"])
    before = torch.get_rng_state()
    net = opened(CHANNELS, 7, SMALL, first)
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(net(maps())[-1].masks, network(3).eval()(maps())[-1].masks)


def test_sizes_that_do_not_fit_are_refused() -> None:
    refused(MaskLayout, {"width": 32}, {"width": 0}, {"heads": 0}, {"queries": 0}, {"decoder": 0}, {"points": 0})
    refused(MaskLayout, {"width": 64, "heads": 5})
