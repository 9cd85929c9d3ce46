from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from diptych.core import DataError, Kit, MissingEvidence, Run
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import text_head
from diptych.methods.classify.lp_plus_plus import LPPlusPlus, descent, first_blend, step_sizes
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused


def problem(rows: int = 12, dim: int = 5, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Unit embeddings around their class embeddings, their labels, and the class embeddings."""
    dice = torch.Generator().manual_seed(5)
    y = torch.arange(rows) % classes
    head = normalize(torch.randn(classes, dim, generator=dice, dtype=torch.float64), dim=1)
    noise = torch.randn(rows, dim, generator=dice, dtype=torch.float64)
    return normalize(head[y] + 0.4 * noise, dim=1), y, head


def loss(x: Tensor, y: Tensor, head: Tensor, w: Tensor, alpha: Tensor) -> Tensor:
    return cross_entropy(x @ (w + alpha[:, None] * head).T, y)


def numpy_fit(
    x: np.ndarray, y: np.ndarray, head: np.ndarray, scale: float, steps: int, views: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    n, k = len(x), len(head)
    w = np.stack([x[y == c].sum(0) for c in range(k)]) / views
    alpha = np.full(k, 2.5 * scale * np.mean([np.mean(x[y == c] @ head[c]) for c in range(k)]))
    rate = 4 * n / np.linalg.svd(x, compute_uv=False)[0] ** 2
    rate_alpha = n / (4 * max(sum((row @ t) ** 2 for row in x) for t in head))
    velocity = np.zeros_like(w)
    for step in range(1, steps + 1):
        grad_w, grad_alpha = np.zeros_like(w), np.zeros(k)
        for row, label in zip(x, y, strict=True):
            values = np.array([row @ (w[c] + alpha[c] * head[c]) for c in range(k)])
            p = np.exp(values - values.max())
            p /= p.sum()
            for c in range(k):
                grad_w[c] += (p[c] - (c == label)) * row / n
                grad_alpha[c] += (p[c] - (c == label)) * (row @ head[c]) / n
        velocity = 0.9 * velocity + grad_w
        w = w - rate * velocity
        if step % 10 == 0:
            alpha = alpha - rate_alpha * grad_alpha
    return w, alpha


def test_equals_a_numpy_restatement_end_to_end(run: Run) -> None:
    names, evidence, test = task()
    backbone, kit = SmallBackbone(), Kit({"main": SmallBackbone()})
    assert evidence.train is not None
    fitted = LPPlusPlus(steps=23, early_stopping=False, views=2).fit(kit, names, evidence, run)
    views = embed(backbone.image, evidence.train.items, run, views=replace(TIP_VIEWS, draws=2)).double().numpy()
    x = (views / np.linalg.norm(views, axis=-1, keepdims=True)).reshape(-1, 16)
    head = text_head(backbone, names.prompts(), run).double().numpy()
    scale = float(backbone.scale("image", "text")[0])
    w, alpha = numpy_fit(x, np.repeat(evidence.train.labels(), 2), head, scale, 23, views=2)
    np.testing.assert_allclose(fitted.prototypes.numpy(), w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fitted.alpha.numpy(), alpha, rtol=1e-4)
    assert fitted.step == 23
    z = normalize(embed(backbone.image, test.items, run), dim=1).double().numpy()
    expected = z @ (w + alpha[:, None] * head).T
    np.testing.assert_allclose(fitted.scores(test.items, run).values.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_slopes_are_those_of_the_loss() -> None:
    x, y, head = problem()
    w, alpha = first_blend(x, y, head, scale=4.0)
    rate, rate_alpha = step_sizes(x, head)
    w0, alpha0 = w.clone().requires_grad_(), alpha.clone().requires_grad_()
    grad_w, _ = torch.autograd.grad(loss(x, y, head, w0, alpha0), (w0, alpha0))
    w1, alpha1 = next(descent(x, y, head, w, alpha))
    torch.testing.assert_close(w1, w - rate * grad_w)
    assert torch.equal(alpha1, alpha)
    nine, ten = list(islice(descent(x, y, head, w, alpha), 10))[-2:]
    point = nine[0].clone(), nine[1].clone().requires_grad_()
    (grad_alpha,) = torch.autograd.grad(loss(x, y, head, *point), point[1])
    torch.testing.assert_close(ten[1], alpha - rate_alpha * grad_alpha)


def test_steps_are_within_what_the_curvature_allows() -> None:
    x, y, head = problem()
    rate, rate_alpha = step_sizes(x, head)
    for seed in range(5):
        w = torch.randn(head.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        alpha = torch.full((len(head),), 2.0, dtype=torch.float64)
        of_w = torch.autograd.functional.hessian(lambda v, a=alpha: loss(x, y, head, v.view_as(head), a), w.flatten())
        of_alpha = torch.autograd.functional.hessian(lambda a, v=w: loss(x, y, head, v, a), alpha)
        # heavy-ball steps converge below 2 (1 + momentum) / curvature, plain ones lower the loss below 2 / curvature
        assert rate * float(torch.linalg.eigvalsh(of_w)[-1]) < 2 * 1.9
        assert rate_alpha * float(torch.linalg.eigvalsh(of_alpha)[-1]) < 2


def test_the_descent_reaches_the_minimum_where_there_is_one() -> None:
    x, y, head = problem(rows=60, dim=3)
    y = y.roll(1) * (torch.arange(60) < 20) + y * (torch.arange(60) >= 20)  # a third wrong, so the loss has a minimum
    w, alpha = first_blend(x, y, head, scale=1.0)
    w, alpha = list(islice(descent(x, y, head, w, alpha), 3000))[-1]
    point = w.requires_grad_(), alpha.requires_grad_()
    slopes = torch.autograd.grad(loss(x, y, head, *point), point)
    assert max(float(g.abs().max()) for g in slopes) < 1e-6


def test_the_start_is_the_sum_of_the_shots_and_the_scaled_text(run: Run) -> None:
    names, evidence, _ = task()
    backbone = SmallBackbone()
    fitted = LPPlusPlus(steps=0).fit(Kit({"main": backbone}), names, replace(evidence, val=None), run)
    assert evidence.train is not None
    x = normalize(embed(backbone.image, evidence.train.items, run, views=replace(TIP_VIEWS, draws=1))[:, 0], dim=-1)
    y = torch.tensor(evidence.train.labels())
    torch.testing.assert_close(fitted.prototypes, torch.stack([x[y == k].sum(0) for k in range(3)]))
    near = torch.stack([(x[y == k] @ fitted.head[k]).mean() for k in range(3)]).mean()
    scale = backbone.scale("image", "text")[0].detach()
    torch.testing.assert_close(fitted.alpha, (2.5 * scale * near).expand(3))
    assert fitted.step == 0


def test_val_chooses_the_step_and_of_ties_the_last(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    # wrong val labels for a third of the items make the best step another than the last
    assert evidence.val is not None
    labels = evidence.val.labels().copy()
    labels[:4] = (labels[:4] + 1) % 3
    val = replace(table(labels.tolist(), 2), items=evidence.val.items)
    evidence = replace(evidence, val=val)

    def right(steps: int) -> int:
        fitted = LPPlusPlus(steps=steps, early_stopping=False).fit(kit, names, evidence, run)
        return int((fitted.scores(val.items, run).predicted().numpy() == labels).sum())

    counts = [right(steps) for steps in range(1, 16)]
    chosen = LPPlusPlus(steps=15).fit(kit, names, evidence, run).step
    assert chosen == max(i + 1 for i, count in enumerate(counts) if count == max(counts))


def test_without_early_stopping_no_val_is_read(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    blind = replace(evidence, val=None)
    assert LPPlusPlus(steps=7, early_stopping=False).fit(kit, names, blind, run).step == 7
    with pytest.raises(MissingEvidence, match=r"Choosing early_stopping needs evidence\.val"):
        LPPlusPlus().fit(kit, names, blind, run)


def test_it_learns_what_the_pictures_show(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    right = LPPlusPlus().fit(kit, names, evidence, run).scores(test.items, run).predicted().numpy() == test.labels()
    assert right.mean() > 0.9


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(LPPlusPlus, {"steps": -1}, {"views": 0})
    with pytest.raises(DataError, match="'tea cup'"):
        LPPlusPlus().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)


@pytest.mark.parametrize(("classes", "shots", "views"), [(1, 1, 1), (2, 1, 3), (4, 3, 1)])
def test_sizes(classes: int, shots: int, views: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes, shots)
    fitted = LPPlusPlus(steps=5, views=views).fit(kit, names, evidence, run)
    assert (fitted.prototypes.shape, fitted.alpha.shape) == ((classes, 16), (classes,))
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)
