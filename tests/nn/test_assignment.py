from __future__ import annotations

from itertools import permutations, product

import pytest
import torch

from diptych.core import UsageError
from diptych.nn.assignment import assign, matched


def values(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(4))
def test_exact_matching_against_all_permutations(seed: int) -> None:
    s = values(3, 5, seed)
    best = max(permutations(range(5), 3), key=lambda c: sum(float(s[i, j]) for i, j in enumerate(c)))
    assert tuple(assign(s).tolist()) == best


@pytest.mark.parametrize("seed", range(4))
def test_relaxed_matching_against_all_choices(seed: int) -> None:
    s = values(4, 3, seed)
    allowed = [c for c in product(range(3), repeat=4) if all(c.count(j) <= 2 for j in range(3))]
    best = max(allowed, key=lambda c: sum(float(s[i, j]) for i, j in enumerate(c)))
    assert tuple(assign(s, 2).tolist()) == best
    assert assign(s, 4).tolist() == s.argmax(1).tolist()


def test_too_few_places_are_refused() -> None:
    with pytest.raises(UsageError, match=r"3 rows do not fit in 2 columns .* at least 2"):
        assign(values(3, 2))


def test_matched_means_skip_what_is_no_word_and_have_gradient() -> None:
    words, patches = (torch.randn(2, n, 4, generator=torch.Generator().manual_seed(n)) for n in (5, 3))
    words.requires_grad_()
    valid = torch.tensor([[True, True, False, True, False], [False] * 5])
    found = matched(words, valid, patches, capacity=1)
    s = words[0, [0, 1, 3]] @ patches[0].T
    assert found[0].item() == pytest.approx(s[torch.arange(3), assign(s)].mean().item())
    assert found[1].item() == 0.0
    (grad,) = torch.autograd.grad(found[0], words)
    assert grad[0, [0, 1, 3]].abs().sum() > 0
    assert grad[0, [2, 4]].abs().sum() == 0
    crowded = matched(words, torch.ones(2, 5, dtype=torch.bool), patches, capacity=1)  # two words share a patch
    s = words[0] @ patches[0].T
    assert crowded[0].item() == pytest.approx(s[torch.arange(5), assign(s, 2)].mean().item())
