"""Losses of pairs with softened targets: of whole images and captions, and of their tokens."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import Embedded
from diptych.nn.soft_pairs import instance_loss, softened, token_loss


@pytest.mark.parametrize("temperature", [0.1, None])
def test_softened_targets_against_a_loop(temperature: float | None) -> None:
    c = torch.rand(2, 4, generator=torch.Generator().manual_seed(0)).double()
    q = softened(c, 1, 0.3, temperature)
    for i in range(2):
        others = {j: math.exp(float(c[i, j]) / temperature) if temperature else 1.0 for j in range(4) if j != i + 1}
        for j in range(4):
            expected = 0.7 if j == i + 1 else 0.3 * others[j] / sum(others.values())
            assert q[i, j].item() == pytest.approx(expected)
    assert torch.equal(softened(c, 0, 0.0, temperature), torch.eye(2, 4).double())
    assert softened(c[:1, :1], 0, 0.3, temperature).tolist() == [[1.0]]


def test_the_instance_loss_against_a_loop_and_over_two_processes() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 3, generator=g) for _ in range(2))
    scale = torch.tensor(5.0)

    def of(rows: slice, rank: int) -> torch.Tensor:
        whole = {"x": normalize(x, dim=-1), "y": normalize(y, dim=-1)}
        gathered = iter([whole["y"], whole["x"]])
        vectors = {"image": x[rows], "text": y[rows]}
        return instance_loss(Embedded(vectors, lambda a, b: (scale, scale), lambda t: next(gathered), rank), 0.2, 0.5)

    a, b = normalize(x, dim=-1), normalize(y, dim=-1)
    total = 0.0
    for p, q in ((a, b), (b, a)):
        cosines = p @ q.T
        targets = softened(cosines, 0, 0.2, 0.5)
        total -= float((targets * (5 * cosines).log_softmax(1)).sum(1).mean()) / 2
    assert of(slice(None), 0).item() == pytest.approx(total, rel=1e-5)
    assert (of(slice(0, 2), 0) + of(slice(2, 4), 1)).item() / 2 == pytest.approx(total, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert of(slice(None), 0).item() == pytest.approx(total, rel=1e-5)


def test_the_token_loss_against_a_loop_over_all_pairs() -> None:
    g = torch.Generator().manual_seed(0)
    patches, words = (normalize(torch.randn(4, n, 6, generator=g), dim=-1) for n in (5, 3))
    valid = torch.tensor([[True, True, True], [True, False, False], [True, True, False], [True, True, True]])
    scores = torch.zeros(4, 4)
    for i in range(4):
        for j in range(4):
            s = words[j, valid[j]] @ patches[i].T
            ways = [c for c in product(range(5), repeat=len(s)) if max(Counter(c).values()) <= 2]
            scores[i, j] = max(sum(float(s[k, p]) for k, p in enumerate(c)) for c in ways) / len(s)
    both = [torch.diagonal((7 * s).log_softmax(1)).mean() for s in (scores, scores.T)]
    found = token_loss(patches, words, valid, torch.tensor(7.0), 2, negatives=9, g=torch.Generator())
    assert found.item() == pytest.approx(-float(both[0] + both[1]) / 2, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = token_loss(patches, words, valid, torch.tensor(7.0), 2, negatives=9, g=torch.Generator())
    assert halves.item() == pytest.approx(found.item(), rel=1e-6)
    alone = token_loss(patches[:1], words[:1], valid[:1], torch.tensor(7.0), 2, 3, torch.Generator())
    assert alone.item() == 0.0
