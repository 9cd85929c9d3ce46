from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.covariance import shrunk_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from torch.nn.functional import normalize

from diptych.core.errors import DataError, MissingEvidence, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.methods.classify.gda import ALPHAS, GDA, class_means, discriminant, pooled_scatter, shrunk_precision
from diptych.methods.classify.zero_shot import ZeroShot


def sample(n: int = 60, classes: int = 4, dim: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(n) % classes
    return normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(0)) + torch.eye(classes, dim)[y], dim=1), y


def numpy_gda(x: np.ndarray, y: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    means = np.stack([x[y == k].mean(0) for k in range(classes)])
    n, d = x.shape
    s = sum(np.outer(v - means[k], v - means[k]) for v, k in zip(x, y, strict=True)) / (n - 1)
    p = d * np.linalg.pinv((n - 1) * s + np.trace(s) * np.eye(d))
    return means @ p, np.array([math.log(1 / classes) - 0.5 * m @ p @ m for m in means])


@pytest.mark.parametrize("n", [8, 60, 200])
def test_the_discriminant_equals_a_numpy_loop(n: int) -> None:
    x, y = sample(n)
    means = class_means(x, y, 4)
    w, b = discriminant(means, shrunk_precision(pooled_scatter(x, y, means, rows=7), n))
    expected_w, expected_b = numpy_gda(x.double().numpy(), y.numpy(), 4)
    np.testing.assert_allclose(w.numpy(), expected_w, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(b.numpy(), expected_b, rtol=1e-9, atol=1e-9)


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
    """With equal class sizes LDA's pooled covariance is scatter / n: the shrinkage that makes it ours is tr/(n-1) over it."""
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
    assert torch.equal(shrunk_precision(torch.zeros(3, 3, dtype=torch.float64), 4), torch.zeros(3, 3, dtype=torch.float64))
    x = normalize(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), dim=1).repeat_interleave(7, 0)
    y = torch.arange(3).repeat_interleave(7)
    assert shrunk_precision(pooled_scatter(x, y, class_means(x, y, 3)), 21).abs().max() == 0, "rounding of equal views is not variance"


def test_equals_a_numpy_restatement_end_to_end(run: Run) -> None:
    names, evidence, test = task()
    backbone = SmallBackbone()
    assert evidence.train is not None
    kit = Kit({"main": backbone})
    fitted = GDA(alpha=0.1).fit(kit, names, evidence, run)
    views = embed(backbone.image, evidence.train.items, run, views=TIP_VIEWS).double().numpy()
    x = (views / np.linalg.norm(views, axis=-1, keepdims=True)).reshape(-1, 16)
    w, b = numpy_gda(x, np.repeat(evidence.train.labels(), 10), 3)
    z = normalize(embed(backbone.image, test.items, run), dim=1).double().numpy()
    expected = ZeroShot().fit(kit, names, evidence, run).scores(test.items, run).values.numpy() + 0.1 * (z @ w.T + b)
    np.testing.assert_allclose(fitted.scores(test.items, run).values.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_alpha_zero_and_one_view_of_one_shot_are_zero_shot_exactly(kit: Kit, run: Run) -> None:
    names, evidence, test = task(shots=1)
    plain = ZeroShot().fit(kit, names, evidence, run).scores(test.items, run)
    off = GDA(alpha=0.0).fit(kit, names, evidence, run).scores(test.items, run)
    assert torch.equal(off.values, plain.values)
    blind = GDA(alpha=1.0, views=1).fit(kit, names, evidence, run)
    assert torch.equal(blind.weight, torch.zeros_like(blind.weight))
    assert torch.equal(blind.scores(test.items, run).predicted(), plain.predicted())


def test_alpha_is_the_best_on_val_and_the_smallest_of_ties(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    assert evidence.val is not None

    def right(alpha: float) -> int:
        predicted = GDA(alpha=alpha).fit(kit, names, evidence, run).scores(evidence.val.items, run).predicted()
        return int((predicted.numpy() == evidence.val.labels()).sum())

    counts = [right(a) for a in ALPHAS]
    assert GDA().fit(kit, names, evidence, run).alpha == ALPHAS[int(np.argmax(counts))]
    assert max(counts) > counts[0], "the task must make the choice matter"


def test_shuffled_labels_lose_the_gain(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    assert evidence.train is not None
    wrong = replace(table([int(k) for k in (evidence.train.labels() + 1) % 4], 1), items=evidence.train.items)

    def accuracy(method, e) -> float:
        return float((method.fit(kit, names, e, run).scores(test.items, run).predicted().numpy() == test.labels()).mean())

    zero_shot = accuracy(ZeroShot(), evidence)
    assert accuracy(GDA(), evidence) > zero_shot + 0.2
    assert accuracy(GDA(), replace(evidence, train=wrong)) <= zero_shot + 0.1


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    for wrong in ({"alpha": -0.1}, {"views": 0}):
        with pytest.raises(UsageError, match="GDA takes"):
            GDA(**wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="No train image of class 'tea cup'"):
        GDA().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)
    with pytest.raises(MissingEvidence, match="Choosing alpha"):
        GDA().fit(kit, names, replace(evidence, val=None), run)
    with pytest.raises(MissingEvidence, match="val"):
        GDA().fit(kit, names, replace(evidence, val=table([], 1)), run)
    assert GDA(alpha=0.1).fit(kit, names, replace(evidence, val=None), run).alpha == 0.1


@pytest.mark.parametrize(("classes", "shots", "views"), [(1, 1, 1), (2, 1, 10), (4, 3, 2)])
def test_sizes(classes: int, shots: int, views: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes, shots)
    fitted = GDA(views=views).fit(kit, names, evidence, run)
    assert (fitted.weight.shape, fitted.bias.shape) == ((classes, 16), (classes,))
    assert fitted.weight.dtype == torch.float32
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)
