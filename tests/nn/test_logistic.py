from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize

from diptych.nn.logistic import logistic_path


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


def test_fewer_rows_than_dimensions_have_the_minimiser_of_all_dimensions() -> None:
    """It is searched in the span of the rows; columns of zeros that make the rows more numerous change nothing."""
    g = torch.Generator().manual_seed(1)
    z = torch.randn(12, 40, generator=g, dtype=torch.float64)
    y = torch.arange(12) % 3
    grid = (0.1, 10.0)
    for c, (w, b) in zip(grid, logistic_path(z, y, 3, grid), strict=True):
        oracle = LogisticRegression(C=c, tol=1e-12, max_iter=100000).fit(z.numpy(), y.numpy())
        logits = z @ w.T + b
        expected = torch.from_numpy(oracle.decision_function(z.numpy()))
        torch.testing.assert_close(logits.softmax(1), expected.softmax(1), atol=1e-5, rtol=0)
        torch.testing.assert_close(w, torch.from_numpy(oracle.coef_), atol=1e-4, rtol=0)
        outside = w - w @ torch.linalg.pinv(z) @ z
        assert outside.abs().max() < 1e-12


@pytest.mark.parametrize(("n", "threads"), [(60, 1), (60_000, 2)])
def test_a_small_search_uses_one_thread_and_gives_the_others_back(
    monkeypatch: pytest.MonkeyPatch, n: int, threads: int
) -> None:
    z, y = sample(n)
    seen = set()
    addmm = torch.addmm

    def watched(*given: torch.Tensor, **more: object) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return addmm(*given, **more)

    monkeypatch.setattr(torch, "addmm", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(logistic_path(z, y, 4, (1.0,), steps=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {threads}
