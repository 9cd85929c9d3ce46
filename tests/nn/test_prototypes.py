"""Self-distillation of crops: scores of prototypes, their loss, and how a teacher collapses."""

from __future__ import annotations

import math

import pytest
import torch

from diptych.nn.prototypes import Prototypes, collapse_of, entropy, self_distillation


def test_distillation_against_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    s, t, c = torch.randn(3, 4, 5, generator=g), torch.randn(2, 4, 5, generator=g), torch.randn(5, generator=g)
    total, count = 0.0, 0
    for i in range(2):
        for v in range(3):
            if v != i:
                p, q = torch.softmax((t[i] - c) / 0.04, -1), torch.log_softmax(s[v] / 0.1, -1)
                total, count = total - sum(float(p[b] @ q[b]) for b in range(4)) / 4, count + 1
    assert self_distillation(list(s), list(t), c, 0.04, 0.1).item() == pytest.approx(total / count, rel=1e-5)


def test_equal_scores_give_ln_k() -> None:
    flat = [torch.zeros(3, 7)] * 2
    assert self_distillation(flat, flat, torch.zeros(7), 0.04, 0.1).item() == pytest.approx(math.log(7))


def test_entropy_against_a_loop_and_its_limits() -> None:
    g = torch.Generator().manual_seed(0)
    t, c = torch.randn(2, 4, 5, generator=g), torch.randn(5, generator=g)
    p = torch.softmax((t - c) / 0.5, -1).reshape(8, 5)
    by_hand = -sum(float(v) * math.log(float(v)) for row in p for v in row) / 8
    assert entropy(list(t), c, 0.5).item() == pytest.approx(by_hand, rel=1e-5)
    assert entropy([torch.zeros(3, 7)] * 2, torch.zeros(7), 0.04).item() == pytest.approx(math.log(7))
    assert entropy([torch.eye(7)[:1].expand(3, -1)] * 2, torch.zeros(7), 1e-3).item() == 0.0


def test_scores_are_cosines() -> None:
    torch.manual_seed(0)
    head = Prototypes(5, 8, 4, 6)
    assert head(100 * torch.randn(50, 5)).abs().max() <= 1 + 1e-6


def test_both_collapses_are_told_apart_from_targets_that_differ() -> None:
    each, flat = torch.eye(8), torch.zeros(8, 8)
    assert collapse_of(each, torch.zeros(8), 0.04) == ("", pytest.approx(8, rel=1e-3))
    assert collapse_of(each[:1].repeat(8, 1), torch.zeros(8), 0.04) == ("one", pytest.approx(1, rel=1e-3))
    assert collapse_of(flat, torch.zeros(8), 0.04) == ("all", pytest.approx(8, rel=1e-3))
