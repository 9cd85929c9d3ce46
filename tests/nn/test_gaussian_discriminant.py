"""Gaussian classes with one shared covariance: means, precisions, and the discriminant, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.covariance import shrunk_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn.functional import normalize

from diptych.nn.gaussian_discriminant import (
    class_means,
    discriminant,
    mean_covariance,
    named_discriminant,
    plain_precision,
    pooled_scatter,
    shrunk_discriminant,
    shrunk_precision,
)


def sample(n: int = 60, classes: int = 4, dim: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(n) % classes
    return normalize(
        torch.randn(n, dim, generator=torch.Generator().manual_seed(0)) + torch.eye(classes, dim)[y], dim=1
    ), y


def numpy_gda(x: np.ndarray, y: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    means = np.stack([x[y == k].mean(0) for k in range(classes)])
    n, d = x.shape
    s = sum(np.outer(v - means[k], v - means[k]) for v, k in zip(x, y, strict=True)) / (n - 1)
    p = d * np.linalg.pinv((n - 1) * s + np.trace(s) * np.eye(d))
    return means @ p, np.array([math.log(1 / classes) - 0.5 * m @ p @ m for m in means])


def numpy_base(x: np.ndarray, y: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    means = np.stack([x[y == k].mean(0) for k in range(classes)])
    covariance = np.mean([np.cov(x[y == k], rowvar=False) for k in range(classes)], axis=0)
    values, vectors = np.linalg.eigh(covariance)
    kept = values > x.shape[1] * np.finfo(np.float32).eps * values.max()
    p = sum(np.outer(v, v) / value for value, v in zip(values[kept], vectors.T[kept], strict=True))
    return means @ p, np.array([-math.log(classes) - 0.5 * m @ p @ m for m in means])


@pytest.mark.parametrize("n", [8, 60, 200])
def test_the_discriminant_equals_a_numpy_loop(n: int) -> None:
    x, y = sample(n)
    means = class_means(x, y, 4)
    w, b = discriminant(means, shrunk_precision(pooled_scatter(x, y, means, rows=7), n))
    expected_w, expected_b = numpy_gda(x.double().numpy(), y.numpy(), 4)
    np.testing.assert_allclose(w.numpy(), expected_w, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(b.numpy(), expected_b, rtol=1e-9, atol=1e-9)
    w, b = shrunk_discriminant(x, y, means)
    np.testing.assert_allclose(w.numpy(), expected_w, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(b.numpy(), expected_b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [4, 20])
def test_samples_that_do_not_vary_have_no_discriminant(n: int) -> None:
    x, y = sample(4)[0].repeat(n // 4, 1), torch.arange(n) % 4
    w, b = shrunk_discriminant(x, y, class_means(x, y, 4))
    assert not w.any()
    assert torch.equal(b, torch.full((4,), -math.log(4), dtype=torch.float64))


@pytest.mark.parametrize("n", [8, 60, 200])
def test_the_precision_is_shrinkage_by_d_over_d_plus_n_minus_1(n: int) -> None:
    """scikit-learn's shrunk covariance with r = D / (D + n - 1), inverted and scaled, is the same matrix."""
    x, y = sample(n)
    scatter = pooled_scatter(x, y, class_means(x, y, 4))
    size = x.shape[1]
    r = size / (size + n - 1)
    oracle = r * np.linalg.inv(shrunk_covariance(scatter.numpy() / (n - 1), shrinkage=r))
    np.testing.assert_allclose(shrunk_precision(scatter, n).numpy(), oracle, rtol=1e-9, atol=1e-12)


def test_ranks_as_scikit_learns_lda_on_balanced_classes() -> None:
    """With equal class sizes LDA's pooled covariance is scatter / n: the shrinkage that makes it ours is tr/(n-1) over
    it.
    """
    n, classes = 60, 4
    x, y = sample(n, classes)
    scatter = pooled_scatter(x, y, class_means(x, y, classes)).numpy()
    size, trace = x.shape[1], np.trace(scatter)

    class Ours:
        def fit(self, samples: np.ndarray) -> Ours:
            centred = samples - samples.mean(0)  # one class at a time; LDA averages the four by their priors
            own = centred.T @ centred / len(samples)
            self.covariance_ = own + trace / (n - 1) / n * np.eye(size)
            return self

    lda = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Ours()).fit(x.double().numpy(), y.numpy())
    means = class_means(x, y, classes)
    w, b = discriminant(means, shrunk_precision(torch.from_numpy(scatter), n))
    ours = (x.double() @ w.T + b).numpy()
    theirs = lda.decision_function(x.double().numpy())
    scale = size / n  # P = D (n cov)^-1
    gap = ours / scale - theirs
    np.testing.assert_array_equal(ours.argmax(1), theirs.argmax(1))
    np.testing.assert_allclose(w.numpy() / scale, lda.coef_, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(gap - gap[:, :1], 0, atol=1e-7)


def test_means_by_hand_are_not_normalised_again() -> None:
    x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    assert class_means(x, y, 2).tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_a_scatter_of_nothing_gives_a_precision_of_zero() -> None:
    assert torch.equal(
        shrunk_precision(torch.zeros(3, 3, dtype=torch.float64), 4), torch.zeros(3, 3, dtype=torch.float64)
    )
    x = normalize(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), dim=1).repeat_interleave(7, 0)
    y = torch.arange(3).repeat_interleave(7)
    assert shrunk_precision(pooled_scatter(x, y, class_means(x, y, 3)), 21).abs().max() == 0, (
        "rounding of equal views is not variance"
    )


@pytest.mark.parametrize("n", [8, 60, 200])
def test_the_base_discriminant_equals_a_numpy_loop(n: int) -> None:
    """Eight samples of four classes span four directions of twelve: the pseudo-inverse leaves the others out."""
    x, y = sample(n)
    means = class_means(x, y, 4)
    w, b = discriminant(means, plain_precision(mean_covariance(x, y, means)))
    expected_w, expected_b = numpy_base(x.double().numpy(), y.numpy(), 4)
    np.testing.assert_allclose(w.numpy(), expected_w, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(b.numpy(), expected_b, rtol=1e-7, atol=1e-7)


def test_every_class_weighs_the_same_in_the_base_covariance() -> None:
    """Unlike in the pooled one: a class of 30 samples counts as much as one of 3, and one of a single sample as 0."""
    x, _ = sample(34)
    y = torch.tensor([0] * 30 + [1] * 3 + [2])
    found = mean_covariance(x, y, class_means(x, y, 3))
    own = [np.cov(x[y == k].double().numpy(), rowvar=False) for k in (0, 1)]
    np.testing.assert_allclose(found.numpy(), (own[0] + own[1]) / 3, rtol=1e-9, atol=1e-12)


def test_variance_below_the_cut_of_an_fp32_pseudo_inverse_counts_as_none() -> None:
    eps = torch.finfo(torch.float32).eps
    covariance = torch.diag(torch.tensor([1.0, 3 * 3 * eps, 0.3 * 3 * eps], dtype=torch.float64))
    assert plain_precision(covariance).diagonal().tolist() == pytest.approx([1.0, 1 / (3 * 3 * eps), 0.0])
    assert torch.equal(plain_precision(torch.zeros(3, 3, dtype=torch.float64)), torch.zeros(3, 3, dtype=torch.float64))


def test_one_view_is_enough_to_name_classes() -> None:
    w, b = named_discriminant(torch.eye(3)[:1], torch.eye(3))
    assert torch.isfinite(w).all()
    assert torch.isfinite(b).all()


def test_new_classes_at_their_text_vectors_are_recognised_and_permuted_ones_are_not() -> None:
    """The discriminant alone, without the zero-shot classifier; the views are of eight other classes."""
    g = torch.Generator().manual_seed(0)
    centres = normalize(torch.randn(12, 24, generator=g), dim=1)

    def drawn(k: torch.Tensor) -> torch.Tensor:
        return normalize(centres[k] + 0.15 * torch.randn(len(k), 24, generator=g), dim=1)

    views, y = drawn(torch.arange(8).repeat(40)), torch.arange(4).repeat(50)
    z, head = drawn(8 + y), centres[8:]

    def accuracy(texts: torch.Tensor) -> float:
        w, b = named_discriminant(views, texts)
        return float(((z.double() @ w.T + b).argmax(1) == y).double().mean())

    assert accuracy(head) > 0.9
    assert accuracy(head.roll(1, 0)) < 0.1
