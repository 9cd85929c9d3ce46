"""Calibration of systems that judge among candidates."""

from __future__ import annotations

import numpy as np
import torch

from diptych.core import Scores
from diptych.tasks.calibrate import Calibration, conformity
from tests.support.colours import ColourBackbone

N, K = 400, 20


def judged(seed: int, missed: float) -> tuple[Scores, np.ndarray]:
    """Return scores whose three candidates hold the true class but in a share of the items, where it ranks fourth."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(K, size=N)
    values = torch.from_numpy(rng.random((N, K)).astype(np.float32))
    rows = np.arange(N)
    values[rows, labels] += 2.0
    out = rng.random(N) < missed
    for i in rows[out]:
        values[i, [k for k in range(K) if k != labels[i]][:3]] += 4.0
    chosen = torch.zeros(N, K, dtype=torch.bool).scatter_(1, values.argsort(1, descending=True)[:, :3], True)
    return Scores(values, "logit", chosen), labels


def test_sets_of_candidates_take_the_next_ranks_and_not_all_classes() -> None:
    scores, labels = judged(0, 0.3)
    made = Calibration.of(scores, ColourBackbone(), labels)
    fresh, truth = judged(1, 0.3)
    p = made.probabilities(fresh, ColourBackbone())
    inside = made.sets(p, fresh, 0.9)
    assert inside[np.arange(N), truth].mean() > 0.85
    assert inside.sum(1).mean() <= 5, "three candidates and the next class, not all twenty"
    all_in = made.sets(p, fresh, 0.9999)
    assert all_in.all(), "more than 400 items can promise: every class"


def test_conformity_keeps_probabilities_and_ranks_the_rest_below() -> None:
    scores = Scores(torch.tensor([[3.0, 1.0, 2.0, 0.0]]), "logit", torch.tensor([[True, False, False, False]]))
    assert conformity(np.array([[1.0, 0.0, 0.0, 0.0]]), scores).tolist() == [[1.0, -3 / 4, -2 / 4, -1.0]]


def test_the_size_of_logits_does_not_matter() -> None:
    """Logits of a strongly penalised probe differ by 1e-5: at the coldest temperature all classes were as likely."""
    scores, labels = judged(0, 0.3)
    whole = Scores(scores.values, "logit")
    flat = Scores(scores.values.double() * 1e-6, "logit")
    p, q = (Calibration.of(s, ColourBackbone(), labels).probabilities(s, ColourBackbone()) for s in (whole, flat))
    assert p.max(axis=1).mean() > 0.5
    np.testing.assert_allclose(q, p, atol=1e-4)
    judging = Scores(flat.values, "log_prob", scores.candidates)
    assert np.isfinite(Calibration.of(judging, ColourBackbone(), labels).temperature)
