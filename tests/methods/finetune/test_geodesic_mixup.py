from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from diptych.core import Clock, Embedded
from diptych.methods.finetune.geodesic_mixup import GeodesicMixup, geodesic, m2_rows, soft_rows
from tests.support.refused import refused

G = torch.Generator().manual_seed(3)


def unit(n: int, d: int = 6) -> torch.Tensor:
    return normalize(torch.randn(n, d, generator=G, dtype=torch.float64), dim=-1)


def embedded(x: torch.Tensor, y: torch.Tensor) -> Embedded:
    return Embedded({"image": x, "text": y}, lambda a, b: (torch.tensor(1.0), torch.tensor(0.0)), lambda t: t)


def clock(epoch: int = 0, seed: int = 0) -> Clock:
    return Clock(0, 10, epoch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_closed_form_on_the_sphere(share: float) -> None:
    a, b = unit(20), unit(20)
    m, angle = geodesic(a, b, share), (a * b).sum(1).arccos()
    torch.testing.assert_close(m.norm(dim=1), torch.ones(20).double())
    torch.testing.assert_close((m * a).sum(1), torch.cos((1 - share) * angle))
    torch.testing.assert_close((m * b).sum(1), torch.cos(share * angle))


def test_vectors_that_are_equal_or_opposite_give_no_nan() -> None:
    a = normalize(torch.randn(200, 512, generator=G), dim=-1).requires_grad_()
    for b in (a.detach(), -a.detach(), normalize(a.detach() + 1e-5, dim=-1)):
        m = geodesic(a, b, 0.4)
        (gradient,) = torch.autograd.grad(m.sum(), a)
        assert torch.isfinite(m).all()
        assert torch.isfinite(gradient).all()


def test_near_vectors_are_mixed_on_a_straight_line() -> None:
    """To the bit, so that the angle, which has no digits there, plays no part; and vectors that are farther apart are
    not.
    """
    a = normalize(torch.randn(200, 64, generator=G), dim=-1)
    for b in (a, normalize(a + 1e-4 * normalize(torch.randn(200, 64, generator=G), dim=-1), dim=-1)):
        assert torch.equal(geodesic(a, b, 0.3), normalize(0.3 * a + (1 - 0.3) * b, dim=-1))
    apart = normalize(a + 0.1 * normalize(torch.randn(200, 64, generator=G), dim=-1), dim=-1)
    assert not torch.allclose(geodesic(a, apart, 0.3), normalize(0.3 * a + 0.7 * apart, dim=-1), atol=1e-6, rtol=0)


def test_m2_against_a_loop() -> None:
    x, y = unit(5), unit(5)
    mixed = geodesic(x, y, 0.3)
    total = 0.0
    for i in range(5):
        scores = [float(x[i] @ (y[i] if j == i else mixed[j])) / 0.07 for j in range(5)]
        total += -scores[i] + math.log(sum(math.exp(s) for s in scores))
    assert m2_rows(x, y, mixed, 0.07).item() == pytest.approx(total / 5, rel=1e-12)


def test_soft_targets_against_a_loop() -> None:
    x, y = unit(4), unit(4)
    p = np.exp((x @ y.T / 0.2).numpy())
    p /= p.sum(1, keepdims=True)
    expected = -np.mean([0.7 * np.log(p[i, i]) + 0.3 * np.log(p[i, 3 - i]) for i in range(4)])
    assert soft_rows(x, y, 0, 0.7, 0.3, 0.2).item() == pytest.approx(expected, rel=1e-12)


def test_mixtures_at_the_text_are_clips_own_negatives() -> None:
    x, y = unit(6).float(), unit(6).float()
    terms = GeodesicMixup(m2=1.0, share=0.0, mixed_temperature=0.07).terms(embedded(x, y), nn.Identity(), clock())
    own = soft_rows(x, y, 0, 1, 0, 0.07)  # the image side equals CLIP's at tau_m
    texts = torch.eye(6) * (x * y).sum(1, keepdim=True) + (1 - torch.eye(6)) * (y @ y.T)
    other = nn.functional.cross_entropy(texts / 0.07, torch.arange(6))
    torch.testing.assert_close(terms["m2"], own + other, rtol=1e-4, atol=1e-5)


def test_without_weights_it_is_clips_loss_at_a_fixed_temperature() -> None:
    x, y = unit(6).float(), unit(6).float()
    terms = GeodesicMixup(m2=0.0, temperature=0.05).terms(embedded(x, y), nn.Identity(), clock())
    logits, own = x @ y.T / 0.05, torch.arange(6)
    expected = (nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)) / 2
    assert list(terms) == ["contrastive"]
    torch.testing.assert_close(terms["contrastive"], expected)


def test_the_clock_draws_and_fades() -> None:
    e = embedded(unit(6).float(), unit(6).float())
    m3 = GeodesicMixup(**GeodesicMixup.card.variants["m3"])
    one, same, other = (m3.terms(e, nn.Identity(), clock(seed=s)) for s in (1, 1, 2))
    late = m3.terms(e, nn.Identity(), clock(epoch=3, seed=1))
    assert set(one) == {"contrastive", "m2", "v", "l", "vl"}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = m3.terms(e, nn.Identity(), clock(seed=1))
    assert all(torch.equal(one[n], halves[n]) for n in one)
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert not torch.equal(one["m2"], other["m2"])
    torch.testing.assert_close(late["m2"] * 4, one["m2"])
    torch.testing.assert_close(late["contrastive"], one["contrastive"])


def test_mixed_photos_and_mixed_captions_against_a_loop() -> None:
    x, y, share, tau = unit(5), unit(5), 0.3, 0.2
    method = GeodesicMixup(m2=0.0, single=1.0, temperature=tau, share=share)
    terms = method.terms(embedded(x, y), nn.Identity(), clock())
    for name, a, b in (("v", x, y), ("l", y, x)):
        mixed = torch.stack([geodesic(a[i], a[4 - i], share) for i in range(5)])
        logits = (mixed @ b.T / tau).numpy()
        total = 0.0
        for k in (logits, logits.T):
            log_p = k - np.log(np.exp(k).sum(1, keepdims=True))
            total += -np.mean([share * log_p[i, i] + (1 - share) * log_p[i, 4 - i] for i in range(5)])
        assert terms[name].item() == pytest.approx(total / 2, rel=1e-6)


def test_mixed_pairs_against_a_loop() -> None:
    """Both sides are mixed with the same share, and both pairs are right: each row of the targets sums to 2."""
    x, y, share, tau = unit(5), unit(5), 0.3, 0.2
    method = GeodesicMixup(m2=0.0, joint=0.5, temperature=tau, share=share)
    terms = method.terms(embedded(x, y), nn.Identity(), clock(epoch=1))
    a, b = (slerp(v.numpy(), v.numpy()[::-1], share) for v in (x, y))
    total = 0.0
    for k in (a @ b.T / tau, b @ a.T / tau):
        log_p = k - np.log(np.exp(k).sum(1, keepdims=True))
        total -= np.mean([log_p[i, i] + log_p[i, 4 - i] for i in range(5)])
    assert terms["vl"].item() == pytest.approx(0.5 / 2 * total / 2, rel=1e-6)


def slerp(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """Return the points at a share of the angle from b to a, by rotation of b in the plane of both."""
    angle = np.arccos(np.clip((a * b).sum(1), -1, 1))[:, None]
    away = a - np.cos(angle) * b
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return np.where(
        length > 1e-6, np.cos(share * angle) * b + np.sin(share * angle) * away / np.maximum(length, 1e-9), a
    )


def test_two_processes_make_the_loss_of_one() -> None:
    x, y = unit(6), unit(6)
    m3 = GeodesicMixup(**GeodesicMixup.card.variants["m3"])
    whole = m3.terms(embedded(x, y), nn.Identity(), clock())
    shares = []
    for rank in range(2):
        rows = slice(3 * rank, 3 * rank + 3)

        def gather(t: torch.Tensor, rows=rows) -> torch.Tensor:
            return x if torch.allclose(t, x[rows]) else y  # in this test only embeddings are gathered

        e = Embedded(
            {"image": x[rows], "text": y[rows]}, lambda a, b: (torch.tensor(1.0), torch.tensor(0.0)), gather, rank
        )
        shares.append(m3.terms(e, nn.Identity(), clock()))
    for name, value in whole.items():
        torch.testing.assert_close((shares[0][name] + shares[1][name]) / 2, value, rtol=1e-4, atol=1e-5)


def test_numbers_out_of_their_range_are_refused() -> None:
    refused(GeodesicMixup, {"temperature": 0.0}, {"m2": -0.1}, {"joint": -0.1}, {"share": 1.5})
