from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from diptych.nn.angular_margin import arc_loss, caption_loss, with_margin


def test_the_angle_grows_by_the_margin_and_the_result_falls_with_it_everywhere() -> None:
    angles = torch.linspace(0.001, np.pi - 0.001, 500, dtype=torch.float64)
    found = with_margin(angles.cos(), 0.5)
    inside = angles < np.pi - 0.5
    torch.testing.assert_close(found[inside], (angles[inside] + 0.5).cos())
    assert (found.diff() < 0).all()


@pytest.mark.parametrize("cosine", [-1.0, -0.9, 0.0, 1.0])
def test_gradients_are_finite_at_the_ends(cosine: float) -> None:
    c = torch.tensor(cosine, requires_grad=True)
    with_margin(c, 0.5).backward()
    assert c.grad is not None
    assert c.grad.isfinite()


def test_loss_against_a_loop_and_without_margin() -> None:
    g = torch.Generator().manual_seed(0)
    x, w = (normalize(torch.randn(n, 6, generator=g).double(), dim=-1) for n in (7, 4))
    labels = torch.arange(7) % 4
    total = 0.0
    for i in range(7):
        cosines = [float(np.dot(x[i].numpy(), w[c].numpy())) for c in range(4)]
        own = np.arccos(cosines[labels[i]])
        right = np.cos(own + 0.3) if own <= np.pi - 0.3 else cosines[labels[i]] - 0.3 * np.sin(0.3)
        others = sum(np.exp(20 * c) for k, c in enumerate(cosines) if k != labels[i])
        total -= np.log(np.exp(20 * right) / (np.exp(20 * right) + others))
    assert arc_loss(x, w, labels, 20.0, 0.3).item() == pytest.approx(total / 7, rel=1e-9)
    torch.testing.assert_close(arc_loss(x, w, labels, 20.0, 0.0), cross_entropy(20 * x @ w.T, labels))


def test_captions_against_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    x = normalize(torch.randn(5, 6, generator=g).double(), dim=-1)
    t = normalize(torch.randn(5, 2, 6, generator=g).double(), dim=-1)
    labels, total = torch.tensor([0, 1, 0, 2, 1]), 0.0
    for i in range(5):
        others = sum(np.exp(20 * float(x[i] @ t[j, k])) for j in range(5) for k in range(2) if labels[j] != labels[i])
        for k in range(2):
            own = np.exp(20 * np.cos(np.arccos(float(x[i] @ t[i, k])) + 0.3))
            total -= np.log(own / (own + others))
    assert caption_loss(x, t, labels, t, labels, 20.0, 0.3).item() == pytest.approx(total / 10, rel=1e-9)


def test_captions_of_the_same_class_are_no_negatives() -> None:
    x = normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), dim=-1).requires_grad_()
    one = torch.zeros(4, dtype=torch.long)
    loss = caption_loss(x, x[:, None].detach(), one, x[:, None].detach(), one, 20.0, 0.3)
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad is not None
    assert x.grad.isfinite().all()
