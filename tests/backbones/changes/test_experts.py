"""Mixtures of experts: against a loop, exactly dense with equal experts, and back from a folder."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from diptych.backbones.changes.apply import changed
from diptych.backbones.changes.experts import MixtureOfExperts, merged, mixtures, mlp_names, routed
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.core import MissingHook, UsageError
from tests.support.colours import ColourBackbone
from tests.support.small_clip import small_clip
from tests.train.test_pair import Squares

SETTINGS = {"experts": 3, "top": 2, "image": 1, "text": None, "seed": 5}
TEXTS = ["a red square", "blue"]


@pytest.fixture
def clip(tmp_path: Path):
    return small_clip(tmp_path / "clip")


def vectors(space):
    with torch.no_grad():
        x = space.image.encode(space.image.inputs([Squares(5)[i] for i in range(5)]))
        return x, space.text.encode(space.text.inputs(TEXTS))


def noisy(space, seed: int):
    module = copy.deepcopy(space.module())
    g = torch.Generator().manual_seed(seed)
    names = mlp_names(space, {"image": 1, "text": None})
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name in names:
                p.add_(0.3 * torch.randn(p.shape, generator=g))
    return space.rebuild(module, space.spec)


def test_a_mixture_against_a_loop() -> None:
    torch.manual_seed(0)
    experts = [nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4)) for _ in range(5)]
    mixture = MixtureOfExperts(experts, 4, 2).double()
    h = torch.randn(3, 7, 4, dtype=torch.float64)
    out = mixture(h)
    w = mixture.router.weight.detach().numpy()
    for b in range(3):
        for t in range(7):
            z = w @ h[b, t].numpy()
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            best = np.argsort(-p)[:2]
            by_hand = sum(p[e] / p[best].sum() * experts[e](h[b, t]) for e in best)
            torch.testing.assert_close(out[b, t], by_hand, atol=1e-6, rtol=1e-6)


def test_equal_experts_are_exactly_the_dense_model_for_any_router(clip) -> None:
    dense = vectors(clip)
    space = changed(clip, "experts", **SETTINGS)
    for scale in (0.0, 1.0, 100.0):
        module = copy.deepcopy(space.module())
        with torch.no_grad():
            for i, mixture in enumerate(mixtures(module)):
                mixture.router.weight.copy_(scale * torch.randn(3, mixture.router.in_features) + i)
        for own, theirs in zip(vectors(space.rebuild(module, space.spec)), dense, strict=True):
            torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-5)
    assert len(mixtures(space.module())) == 1 + clip.tower("text").depth


def test_experts_are_those_of_the_merged_models_and_one_alone_is_its_model(clip) -> None:
    last = {"image": 1, "text": None}
    spaces = [clip, noisy(clip, 1), noisy(clip, 2)]
    made = merged(spaces, 1, last, 0)
    for e in range(3):
        module = copy.deepcopy(made.module())
        for mixture in mixtures(module):
            mixture.router = nn.Linear(mixture.router.in_features, 3)
            with torch.no_grad():
                mixture.router.weight.zero_()
                mixture.router.bias.copy_(10.0 * torch.nn.functional.one_hot(torch.tensor(e), 3))
        for own, theirs in zip(vectors(made.rebuild(module, made.spec)), vectors(spaces[e]), strict=True):
            torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-5)


def test_a_mixture_comes_back_from_a_folder(clip, tmp_path: Path) -> None:
    made = merged([clip, noisy(clip, 1), noisy(clip, 2)], 2, {"image": 1, "text": None}, 7)
    save(made, tmp_path / "model")
    again = load(f"local:{tmp_path / 'model'}")
    assert again.spec.changes == made.spec.changes
    assert all(torch.equal(a, b) for a, b in zip(vectors(again), vectors(made), strict=True))
    assert made.fingerprint == again.fingerprint != clip.fingerprint


def test_the_tower_runs_the_mixture_and_its_logits_are_collected(clip) -> None:
    made = merged([clip, noisy(clip, 1)], 1, {"image": None, "text": 1}, 0)
    tower = made.tower("image")
    x = made.image.inputs([Squares(2)[0]])
    with torch.no_grad(), routed(mixtures(made.module())) as logits:
        cut = tower.project(tower.pooled(tower.blocks(tower.start(x))))
        torch.testing.assert_close(cut, made.image.encode(x), atol=1e-5, rtol=1e-5)
    assert [t.shape[-1] for t in logits] == [2] * 4
    with torch.no_grad():
        made.image.encode(x)
    assert len(logits) == 4


def test_what_does_not_fit_is_refused(clip) -> None:
    with pytest.raises(UsageError, match=r"top must be in \[1, 3\], .+ got 4"):
        changed(clip, "experts", **{**SETTINGS, "top": 4})
    with pytest.raises(UsageError, match="9 blocks are more than"):
        changed(clip, "experts", **{**SETTINGS, "image": 9})
    with pytest.raises(MissingHook, match="experts already"):
        changed(changed(clip, "experts", **SETTINGS), "experts", **SETTINGS)
    with pytest.raises(MissingHook):
        mlp_names(ColourBackbone(), {"image": None, "text": None})
