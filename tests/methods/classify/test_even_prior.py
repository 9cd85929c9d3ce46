from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import Column, Evidence, Kit, MissingEvidence, Run, Table
from diptych.methods.classify.even_prior import EvenPrior, even_offsets
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import task


def test_offsets_make_mean_probabilities_even_and_do_not_depend_on_a_constant() -> None:
    values = 3 * torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) + torch.arange(5)
    offsets = even_offsets(values)
    assert torch.allclose((values + offsets).softmax(1).mean(0), torch.full((5,), 0.2, dtype=torch.float64), atol=1e-7)
    assert torch.allclose(even_offsets(values + 7.0), offsets, atol=1e-5)
    assert abs(float(offsets.mean())) < 1e-12


def test_offsets_minimise_the_convex_function_of_which_they_are_the_stationary_point() -> None:
    from scipy.optimize import minimize

    values = np.random.default_rng(1).normal(0, 2, (30, 4)) + np.arange(4)

    def loss(b: np.ndarray) -> float:
        return float(np.logaddexp.reduce(values + b, axis=1).mean() - b.mean())

    found = minimize(loss, np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose(even_offsets(torch.tensor(values)).numpy(), found - found.mean(), atol=1e-4)


def test_one_shot_or_even_answers_need_no_offset() -> None:
    assert even_offsets(torch.zeros(1, 3)).tolist() == [0.0, 0.0, 0.0]
    assert torch.allclose(even_offsets(torch.eye(3)), torch.zeros(3, dtype=torch.float64), atol=1e-9)


def test_labels_are_not_read_and_scores_are_zero_shot_with_one_number_a_class(run: Run) -> None:
    backbone, (classes, evidence, test) = SmallBackbone(), task()
    kit = Kit({"main": backbone})
    assert evidence.train is not None
    fitted = EvenPrior().fit(kit, classes, evidence, run)
    shuffled: Table[object] = Table(evidence.train.items, {"label": Column("label", evidence.train.labels()[::-1])})
    again = EvenPrior().fit(kit, classes, replace(evidence, train=shuffled), run)
    assert torch.equal(fitted.offsets, again.offsets)
    items = test.items
    plain = ZeroShot().fit(kit, classes, evidence, run).scores(items, run).values
    added = fitted.scores(items, run).values - plain
    assert torch.allclose(added, fitted.offsets.expand(len(items), -1), atol=1e-5)


def test_without_shots_it_says_what_is_missing(run: Run) -> None:
    classes, _, _ = task()
    with pytest.raises(MissingEvidence, match=r"evidence\.train"):
        EvenPrior().fit(Kit({"main": SmallBackbone()}), classes, Evidence(), run)
