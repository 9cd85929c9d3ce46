from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import DataError, Kit, MissingEvidence, Run
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.methods.classify.tip_adapter import TipAdapter
from diptych.methods.classify.tip_adapter_f import TipAdapterF
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused


def test_no_epochs_is_tip_adapter_exactly(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    still, plain = (m.fit(kit, names, evidence, run) for m in (TipAdapterF(epochs=0), TipAdapter()))
    assert (still.alpha, still.beta) == (plain.alpha, plain.beta)
    assert torch.equal(still.scores(test.items, run).values, plain.scores(test.items, run).values)


def test_alpha_zero_is_zero_shot_exactly(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    fitted = TipAdapterF(alpha=0.0, beta=1.0).fit(kit, names, evidence, run)
    assert torch.equal(
        fitted.scores(test.items, run).values, ZeroShot().fit(kit, names, evidence, run).scores(test.items, run).values
    )


def test_training_equals_a_numpy_adamw(run: Run) -> None:
    """One batch an epoch, so the order does not matter: gradient, AdamW, decay and cosine restated in NumPy."""
    names, evidence, _ = task()
    backbone = SmallBackbone()
    assert evidence.train is not None
    fitted = TipAdapterF(alpha=1.0, beta=1.0, epochs=3, views=2).fit(Kit({"main": backbone}), names, evidence, run)

    views = embed(backbone.image, evidence.train.items, run, views=replace(TIP_VIEWS, draws=2)).double().numpy()
    head = ZeroShot().fit(Kit({"main": backbone}), names, evidence, run).head.double().numpy()
    onehot = np.eye(3)[evidence.train.labels()]
    keys = views.mean(1) / np.linalg.norm(views.mean(1), axis=1, keepdims=True)
    first, second = np.zeros_like(keys), np.zeros_like(keys)
    for t in range(1, 4):
        z = views[:, (t - 1) % 2]
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
        vote = np.exp(-1.0 * (1 - z @ keys.T))
        logits = 20 * z @ head.T + 1.17 * vote @ onehot
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = (1.17 * (p - onehot) @ onehot.T / len(z) * vote).T @ z
        rate = 1e-3 * 0.5 * (1 + math.cos(math.pi * (t - 1) / 3))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        keys = keys * (1 - rate * 0.01)
        keys -= rate * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-4)
    np.testing.assert_allclose(fitted.keys.numpy(), keys, atol=2e-6)


def test_training_moves_the_keys_and_the_seed_fixes_them(kit: Kit) -> None:
    names, evidence, _ = task(shots=4)
    method = TipAdapterF(alpha=1.0, beta=1.0, batch=4, epochs=2)
    one, two, other = (method.fit(kit, names, evidence, Run(seed=s)) for s in (0, 0, 1))
    plain = TipAdapter(alpha=1.0, beta=1.0).fit(kit, names, evidence, Run())
    assert torch.equal(one.keys, two.keys)
    assert not torch.equal(one.keys, other.keys)
    assert not torch.allclose(one.keys, plain.keys, atol=1e-4)
    assert not one.keys.requires_grad


def test_training_lowers_the_loss(kit: Kit, run: Run) -> None:
    names, evidence, _ = task(classes=4, shots=4)
    assert evidence.train is not None
    y = torch.tensor(evidence.train.labels())

    def loss(epochs: int) -> float:
        fitted = TipAdapterF(alpha=1.17, beta=1.0, epochs=epochs, rate=0.01).fit(kit, names, evidence, run)
        return float(torch.nn.functional.cross_entropy(fitted.scores(evidence.train.items, run).values, y))

    assert loss(40) < loss(0) - 0.1


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(TipAdapterF, {"alpha": -1.0}, {"epochs": -1}, {"views": 0}, {"batch": 0})
    with pytest.raises(DataError, match="'tea cup'"):
        TipAdapterF().fit(kit, names, replace(evidence, train=table([0, 1], 1)), run)
    with pytest.raises(MissingEvidence, match="alpha and beta"):
        TipAdapterF().fit(kit, names, replace(evidence, val=None), run)


@pytest.mark.parametrize(("classes", "shots", "views", "epochs"), [(1, 1, 1, 1), (2, 1, 3, 5), (4, 3, 10, 2)])
def test_sizes(classes: int, shots: int, views: int, epochs: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes, shots)
    fitted = TipAdapterF(views=views, epochs=epochs).fit(kit, names, evidence, run)
    assert fitted.keys.shape == (classes * shots, 16)
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)
