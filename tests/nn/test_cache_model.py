from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.nn import cache_model, mixing
from diptych.nn.cache_model import affinity, cache_hits, cache_keys, cache_logits, divergences, grid
from diptych.nn.mixing import first_best, hits


def unit(n: int, seed: int, dim: int = 6) -> torch.Tensor:
    return normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


LABELS = torch.tensor([0, 1, 2, 2, 0, 1, 1])


def test_keys_average_before_normalising() -> None:
    views = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(cache_keys(views), torch.tensor([[3.0, 1.0]]) / math.sqrt(10))
    mean_of_units = normalize(normalize(views, dim=-1).mean(1), dim=-1)
    assert not torch.allclose(cache_keys(views), mean_of_units)


def test_affinity_at_its_ends() -> None:
    a = torch.tensor([1.0, 0.0, -1.0])
    torch.testing.assert_close(affinity(a, 2.0), torch.tensor([1.0, math.exp(-2), math.exp(-4)]))
    assert torch.equal(affinity(a, 0.0), torch.ones(3))


def test_votes_equal_a_numpy_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    x, keys = unit(5, 0), unit(7, 1)
    expected = np.zeros((5, 3))
    for i in range(5):
        for j in range(7):
            expected[i, int(LABELS[j])] += math.exp(-5.5 * (1 - float(x[i].double() @ keys[j].double())))
    whole = cache_logits(x, keys, LABELS, 3, 5.5)
    np.testing.assert_allclose(whole.numpy(), expected, rtol=1e-5)
    monkeypatch.setattr(cache_model, "CELLS", 10)  # one row at a time
    torch.testing.assert_close(cache_logits(x, keys, LABELS, 3, 5.5), whole)


def test_beta_zero_counts_the_keys_of_each_class() -> None:
    assert torch.equal(cache_logits(unit(4, 0), unit(7, 1), LABELS, 3, 0.0), torch.tensor([[2.0, 3.0, 2.0]] * 4))


def test_search_equals_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    x, keys, y = unit(40, 0), unit(7, 1), torch.arange(40) % 3
    base = 3 * torch.randn(40, 3, generator=torch.Generator().manual_seed(2))
    betas, alphas = grid(7, 6), grid(3, 5)
    expected = [
        [((base + a * cache_logits(x, keys, LABELS, 3, float(b))).argmax(1) == y).sum() for a in alphas] for b in betas
    ]
    assert cache_hits(x, base, y, keys, LABELS, betas, alphas).tolist() == torch.tensor(expected).tolist()
    for module in (cache_model, mixing):
        monkeypatch.setattr(module, "CELLS", 50)
    assert cache_hits(x, base, y, keys, LABELS, betas, alphas).tolist() == torch.tensor(expected).tolist()


def test_grid_is_the_authors() -> None:
    betas = grid(7.0, 200)
    assert len(betas) == 200
    assert float(betas[0]) == pytest.approx(0.1)
    assert float(betas[1]) == pytest.approx(0.1 + 6.9 / 200)
    assert float(betas[-1]) == pytest.approx(7 - 6.9 / 200)


def test_hits_by_hand_and_ties_keep_the_smallest() -> None:
    base = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    extra = torch.tensor([[0.0, 3.0], [0.0, 0.5], [0.0, 0.0]])
    counts = hits(base, extra, torch.tensor([1, 0, 1]), torch.tensor([0.0, 0.5, 1.0, 4.0]))
    assert counts.tolist() == [2, 3, 3, 2]
    assert first_best(counts) == (1,)
    assert first_best(torch.tensor([[1, 2], [2, 2]])) == (0, 1)


def test_every_image_has_its_divergences() -> None:
    """Pitfall: blocks of ten leave zeros for the last N mod 10 images."""
    z = torch.nn.functional.normalize(torch.randn(23, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    kl = divergences(z, z[:4].flip(0), z[4:7], 0.5)
    assert (kl[10:] > 0).all()
    assert kl[3, 0] == pytest.approx(0.0, abs=1e-6)


def test_the_divergence_compares_classes_and_not_coordinates() -> None:
    """Pitfall: two images with the same cosines to all classes have divergence 0, however their coordinates differ."""
    head = torch.eye(4)[:2]
    z, image = torch.tensor([[0.6, 0.0, 0.8, 0.0]]), torch.tensor([[0.6, 0.0, 0.0, 0.8]])
    assert float(divergences(z, image, head, 0.5)) == pytest.approx(0.0, abs=1e-7)
    coordinates = torch.nn.functional.kl_div(image.div(0.5).log_softmax(1), z.div(0.5).softmax(1), reduction="sum")
    assert float(coordinates) > 0.1, "the pitfall must be one"
