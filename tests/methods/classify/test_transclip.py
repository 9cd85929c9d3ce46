from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.nn.functional import normalize

from diptych.core import DataError, Kit, MissingEvidence, Run
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.methods.classify.transclip import (
    GAMMAS,
    TransCLIP,
    agreement,
    density,
    means_of,
    nearest,
    variance_of,
)
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused


def softmax(values: np.ndarray) -> np.ndarray:
    e = np.exp(values - values.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def numpy_fit(
    x: np.ndarray,
    q: np.ndarray,
    shot: np.ndarray,
    y: np.ndarray,
    kl: float,
    gamma: float,
    iterations: int,
    spherical: bool = False,
) -> np.ndarray:
    n, m, k, d = len(x), len(shot), q.shape[1], x.shape[1]
    w = np.zeros((n + m, n))
    for i, row in enumerate(np.concatenate([x, shot])):
        order = [j for j in np.argsort(-(x @ row), kind="stable") if j != i][:3]
        w[i, order] = x[order] @ row
    labels = np.eye(k)[y] if m else np.zeros((0, k))
    z = q.copy()
    if m:
        mu = np.stack([shot[y == c].mean(0) for c in range(k)])
    else:
        mu = np.stack([sum(q[i, c] * x[i] for i in np.argsort(-q[:, c])[:8]) for c in range(k)])
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    v = np.full(d, 1 / d)
    for step in range(iterations + 1):
        gauss = np.array([[-0.5 * np.sum((row - mu[c]) ** 2 / v) for c in range(k)] for row in x])
        for _ in range(5):
            everyone = np.concatenate([z, labels])
            z = softmax(kl * np.log(q) + gauss / 50 + (w.T @ everyone + (w @ z)[:n]) / 6)
        if step == iterations:
            return z
        for c in range(k):
            top = sum(z[i, c] * x[i] for i in range(n)) / n
            below = z[:, c].sum() / n
            if m:
                top = top + gamma / m * shot[y == c].sum(0)
                below += gamma / m * (y == c).sum()
            mu[c] = top / below
        mu /= np.linalg.norm(mu, axis=1, keepdims=True)
        v = sum(z[i, c] * (x[i] - mu[c]) ** 2 for i in range(n) for c in range(k)) / n
        if m:
            v = (v + gamma / m * sum((s - mu[c]) ** 2 for s, c in zip(shot, y, strict=True))) / (1 + gamma)
        v = np.full(d, v.mean()) if spherical else v
    raise AssertionError


@pytest.mark.parametrize(
    ("few", "gamma", "kl", "spherical"), [(False, 0.0, 1.0, False), (True, 0.5, 0.5, False), (True, 0.5, 0.5, True)]
)
def test_equals_a_numpy_restatement_end_to_end(few: bool, gamma: float, kl: float, spherical: bool, run: Run) -> None:
    names, evidence, test = task(shots=2)
    assert evidence.train is not None
    backbone = SmallBackbone()
    kit, pool = Kit({"main": backbone}), test.items
    given = replace(evidence, unlabelled=pool, train=evidence.train if few else None, val=None)
    fitted = TransCLIP(gamma=gamma or None, iterations=4, spherical=spherical).fit(kit, names, given, run)

    def unit(items: object) -> torch.Tensor:
        return normalize(embed(backbone.image, items, run), dim=1)

    head = text_head(backbone, names.prompts(), run)
    q = logits(backbone, unit(pool), head).double().softmax(1).numpy()
    shot = unit(evidence.train.items).double().numpy() if few else np.zeros((0, 16))
    y = evidence.train.labels() if few else np.zeros(0, dtype=np.int64)
    expected = numpy_fit(unit(pool).double().numpy(), q, shot, y, kl, gamma, 4, spherical)
    np.testing.assert_allclose(fitted.log_z.exp().numpy(), expected, rtol=2e-3, atol=2e-4)
    scores = fitted.scores(pool, run)
    assert scores.kind == "log_prob"
    assert torch.equal(scores.values, fitted.log_z), "photos of the fit keep what they got together"


def test_means_and_variance_are_the_step_of_a_gaussian_mixture() -> None:
    dice = np.random.default_rng(3)
    x = np.concatenate([dice.normal(c, 1.0, (30, 4)) for c in (0.0, 2.0, 5.0)])
    starts = np.array([[0.5] * 4, [2.5] * 4, [4.0] * 4])
    model = GaussianMixture(
        3, covariance_type="diag", means_init=starts, precisions_init=np.ones((3, 4)), weights_init=np.ones(3) / 3,
        max_iter=1, reg_covar=0.0, tol=0.0,
    )  # fmt: skip
    with pytest.warns(match="did not converge"):
        model.fit(x)
    rows, means = torch.tensor(x), torch.tensor(starts)
    z = density(rows, means, torch.ones(4, dtype=torch.float64)).softmax(dim=1)
    np.testing.assert_allclose(means_of(rows, z).numpy(), model.means_, rtol=1e-10)
    tied = (model.weights_[:, None] * model.covariances_).sum(0)  # one variance for all is their weighted mean
    np.testing.assert_allclose(variance_of(rows, z, means_of(rows, z)).numpy(), tied, rtol=1e-10)


def test_density_is_that_of_torch_up_to_a_constant_of_the_classes() -> None:
    dice = torch.Generator().manual_seed(1)
    x, means = torch.randn(5, 3, generator=dice), torch.randn(4, 3, generator=dice)
    variance = torch.rand(3, generator=dice) + 0.5
    normal = torch.distributions.Independent(torch.distributions.Normal(means, variance.sqrt()), 1)
    expected = normal.log_prob(x[:, None])
    torch.testing.assert_close((density(x, means, variance) - expected).std(), torch.tensor(0.0), atol=1e-5, rtol=0)


def test_a_photo_is_no_neighbour_of_its_own() -> None:
    x = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), dim=1)
    at, near = nearest(x, x, 1, others=True)
    assert at[:, 0].tolist() == [1, 0, 3, 2]
    torch.testing.assert_close(near[:, 0], (x[[1, 3]] * x[[0, 2]]).sum(1).repeat_interleave(2))
    assert nearest(x, x, 9, others=True)[0].shape == (4, 3)
    assert nearest(x[:1], x[:1], 3, others=True)[0].shape == (1, 0)
    none = torch.zeros(4, 0, dtype=torch.int64)
    assert torch.equal(agreement(torch.ones(4, 2), none, torch.zeros(4, 0), 4), torch.zeros(4, 2))


def test_a_large_weight_of_the_text_is_zero_shot(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    given = replace(evidence, unlabelled=test.items, train=None)
    plain = ZeroShot().fit(kit, names, evidence, run).scores(test.items, run).predicted()
    assert torch.equal(TransCLIP(kl=1e6).fit(kit, names, given, run).scores(test.items, run).predicted(), plain)


def test_a_large_weight_of_the_shots_makes_their_means_those_of_the_classes(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    fitted = TransCLIP(gamma=1e7).fit(kit, names, replace(evidence, unlabelled=test.items), run)
    assert evidence.train is not None
    backbone = SmallBackbone()
    z = normalize(embed(backbone.image, evidence.train.items, run), dim=1)
    y = torch.tensor(evidence.train.labels())
    means = normalize(torch.stack([z[y == k].mean(0) for k in range(3)]), dim=1)
    torch.testing.assert_close(fitted.means, means, rtol=1e-4, atol=1e-5)


def test_photos_of_another_call_are_answered_each_by_itself(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    fitted = TransCLIP().fit(kit, names, replace(evidence, train=None), run)
    values = fitted.scores(test.items, run).values
    torch.testing.assert_close(values.exp().sum(1), torch.ones(len(test)))
    assert not torch.equal(values.argmax(1), torch.zeros(len(test), dtype=torch.int64))


def test_gamma_is_the_best_on_the_photos_nearest_to_val(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    given = replace(evidence, unlabelled=test.items)
    assert evidence.val is not None
    backbone = SmallBackbone()
    x = normalize(embed(backbone.image, test.items, run), dim=1)
    at = (normalize(embed(backbone.image, evidence.val.items, run), dim=1) @ x.T).argmax(1)

    def right(gamma: float) -> int:
        fitted = TransCLIP(gamma=gamma).fit(kit, names, given, run)
        return int((fitted.log_z.argmax(1)[at].numpy() == evidence.val.labels()).sum())

    counts = [right(gamma) for gamma in GAMMAS]
    assert TransCLIP().fit(kit, names, given, run).gamma == GAMMAS[int(np.argmax(counts))]


def test_shots_help(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    given = replace(evidence, unlabelled=test.items)
    right = TransCLIP().fit(kit, names, given, run).scores(test.items, run).predicted().numpy() == test.labels()
    assert right.mean() > 0.9


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(
        TransCLIP,
        {"kl": -1.0},
        {"gamma": -1.0},
        {"neighbours": -1},
        {"iterations": -1},
        {"temper": 0.0},
    )
    with pytest.raises(MissingEvidence, match=r"unlabelled is missing"):
        TransCLIP().fit(kit, names, replace(evidence, unlabelled=None), run)
    with pytest.raises(MissingEvidence, match=r"Choosing gamma needs evidence\.val"):
        TransCLIP().fit(kit, names, replace(evidence, val=None), run)
    with pytest.raises(DataError, match="'tea cup'"):
        TransCLIP().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)
