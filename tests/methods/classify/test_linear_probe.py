from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize

from diptych.core import DataError, Kit, MissingEvidence, Run
from diptych.methods.classify.linear_probe import GRID, LinearProbe, logistic_path
from tests.support.pictures import table, task
from tests.support.refused import refused


def sample(n: int = 60, classes: int = 4, dim: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % classes
    return normalize(torch.randn(n, dim, generator=g) + torch.eye(classes, dim)[y], dim=1), y


@pytest.mark.parametrize("classes", [2, 4])
def test_the_path_equals_scikit_learn(classes: int) -> None:
    z, y = sample(classes=classes)
    for c, (w, b) in zip((0.01, 1.0, 100.0), logistic_path(z, y, classes, (0.01, 1.0, 100.0)), strict=True):
        # A softmax over two classes in full, where scikit-learn would fit one sigmoid: the penalty of two rows w/2 and
        # -w/2 is half of w's.
        oracle = LogisticRegression(C=c if classes > 2 else 2 * c, tol=1e-10, max_iter=10000).fit(
            z.double().numpy(), y.numpy()
        )
        ours = torch.softmax(z.double() @ w.T + b, dim=1).numpy()
        np.testing.assert_allclose(ours, oracle.predict_proba(z.double().numpy()), atol=2e-5)


def test_strong_penalty_leaves_the_class_frequencies() -> None:
    z, y = sample()
    y = torch.where(y == 3, 0, y)
    ((w, b),) = logistic_path(z, y, 3, (1e-6,))
    assert w.abs().max() < 1e-4
    torch.testing.assert_close(b.softmax(0), torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64), atol=1e-4, rtol=0)


def test_val_chooses_the_best_and_ties_keep_the_smallest(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    chosen = LinearProbe().fit(kit, names, evidence, run)
    assert evidence.val is not None

    def accuracy(c: float) -> float:
        predicted = LinearProbe(c=c).fit(kit, names, evidence, run).scores(evidence.val.items, run).predicted()
        return float((predicted.numpy() == evidence.val.labels()).mean())

    scores = [accuracy(c) for c in GRID]
    assert chosen.c == GRID[int(np.argmax(scores))]
    assert chosen.scores(test.items, run).kind == "logit"


def test_a_given_c_needs_no_val(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    assert LinearProbe(c=10.0).fit(kit, names, replace(evidence, val=None), run).c == 10.0
    with pytest.raises(MissingEvidence, match=r"Choosing c needs evidence\.val"):
        LinearProbe().fit(kit, names, replace(evidence, val=None), run)


def test_it_learns_what_the_pictures_show_and_not_shuffled_labels(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    right = LinearProbe().fit(kit, names, evidence, run).scores(test.items, run).predicted().numpy() == test.labels()
    assert right.mean() > 0.9


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(LinearProbe, {"c": 0.0})
    with pytest.raises(DataError, match="'tea cup'"):
        LinearProbe().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)
    with pytest.raises(DataError, match="label 3"):
        LinearProbe().fit(kit, names, replace(evidence, val=table([0, 3], 1)), run)


@pytest.mark.parametrize(("classes", "shots"), [(1, 1), (2, 1), (4, 3)])
def test_sizes(classes: int, shots: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes, shots)
    fitted = LinearProbe().fit(kit, names, evidence, run)
    assert (fitted.weight.shape, fitted.bias.shape) == ((classes, 16), (classes,))
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)
