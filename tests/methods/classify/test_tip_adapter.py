from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import Column, DataError, Kit, MissingEvidence, Run, Table
from diptych.data.views import TIP_VIEWS
from diptych.methods.classify.tip_adapter import PUBLISHED_SEARCH, TipAdapter
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused


def test_equals_a_numpy_restatement(run: Run) -> None:
    names, evidence, test = task()
    backbone = SmallBackbone()
    assert evidence.train is not None
    fitted = TipAdapter(alpha=1.17, beta=5.5).fit(Kit({"main": backbone}), names, evidence, run)
    zero_shot = (
        ZeroShot().fit(Kit({"main": backbone}), names, evidence, run).scores(test.items, run).values.double().numpy()
    )

    def encode(items: list) -> np.ndarray:
        return backbone.image.encode(backbone.image.inputs(items)).detach().double().numpy()

    keys = []
    for i in range(len(evidence.train)):
        image, key = evidence.train.items[i], evidence.train.items.key(i)
        views = [np.array(TIP_VIEWS.draw(image, 8, key, d)) for d in range(10)]
        mean = encode([torch.from_numpy(v).permute(2, 0, 1).float() / 255 for v in views]).mean(0)
        keys.append(mean / np.linalg.norm(mean))
    expected = zero_shot.copy()
    for n in range(len(test)):
        z = encode([test.items[n]])[0]
        z /= np.linalg.norm(z)
        for f, k in zip(keys, evidence.train.labels(), strict=True):
            expected[n, k] += 1.17 * math.exp(-5.5 * (1 - z @ f))
    np.testing.assert_allclose(fitted.scores(test.items, run).values.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_alpha_zero_is_zero_shot_exactly(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    fitted = TipAdapter(alpha=0.0, beta=5.5).fit(kit, names, evidence, run)
    plain = ZeroShot().fit(kit, names, evidence, run)
    assert torch.equal(fitted.scores(test.items, run).values, plain.scores(test.items, run).values)


def test_beta_towards_zero_predicts_as_zero_shot(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    fitted = TipAdapter(alpha=3.0, beta=0.0).fit(kit, names, evidence, run)
    plain = ZeroShot().fit(kit, names, evidence, run).scores(test.items, run)
    values = fitted.scores(test.items, run).values
    torch.testing.assert_close(values - plain.values, torch.full_like(values, 3.0 * 4))
    assert torch.equal(values.argmax(1), plain.predicted())


def test_the_choice_is_the_best_on_val_and_the_first_of_ties(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    assert evidence.val is not None
    fitted = TipAdapter().fit(kit, names, evidence, run)

    def right(alpha: float, beta: float) -> int:
        predicted = (
            TipAdapter(alpha=alpha, beta=beta)
            .fit(kit, names, evidence, run)
            .scores(evidence.val.items, run)
            .predicted()
        )
        return int((predicted.numpy() == evidence.val.labels()).sum())

    best = right(fitted.alpha, fitted.beta)
    grid = [(0.1 + i * 6.9 / 200, 0.1 + j * 2.9 / 20) for i in range(0, 200, 50) for j in range(0, 20, 5)]
    assert all(
        right(a, b) < best if (b, a) < (fitted.beta - 1e-5, fitted.alpha - 1e-5) else right(a, b) <= best
        for b, a in grid
    )


def test_shuffled_cache_labels_lose_the_gain(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    assert evidence.train is not None
    labels = evidence.train.labels()
    wrong = table([int(k) for k in (labels + 1) % 4], 1)
    wrong = replace(wrong, items=evidence.train.items)

    def accuracy(e) -> float:
        return float(
            (TipAdapter().fit(kit, names, e, run).scores(test.items, run).predicted().numpy() == test.labels()).mean()
        )

    zero_shot = float(
        (ZeroShot().fit(kit, names, evidence, run).scores(test.items, run).predicted().numpy() == test.labels()).mean()
    )
    assert accuracy(evidence) > zero_shot + 0.2
    assert accuracy(replace(evidence, train=wrong)) <= zero_shot + 0.1


def test_val_is_needed_only_for_what_is_not_given(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    blind = replace(evidence, val=None)
    TipAdapter(alpha=1.0, beta=1.0).fit(kit, names, blind, run)
    for method in (TipAdapter(), TipAdapter(alpha=1.0), TipAdapter(beta=1.0)):
        with pytest.raises(MissingEvidence, match="alpha and beta"):
            method.fit(kit, names, blind, run)
    assert TipAdapter(beta=2.0).fit(kit, names, evidence, run).beta == 2.0


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(TipAdapter, {"alpha": -1.0}, {"beta": -1.0}, {"views": 0})
    with pytest.raises(DataError, match="'oak tree', 'tea cup'"):
        TipAdapter().fit(kit, names, replace(evidence, train=table([0, 0], 1)), run)
    with pytest.raises(DataError, match="label -1"):
        TipAdapter().fit(
            kit, names, replace(evidence, train=Table(table([0], 1).items, {"label": Column("label", [-1])})), run
        )


@pytest.mark.parametrize(("classes", "shots", "views"), [(1, 1, 1), (2, 1, 10), (4, 3, 2)])
def test_sizes(classes: int, shots: int, views: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes, shots)
    fitted = TipAdapter(views=views).fit(kit, names, evidence, run)
    assert (fitted.keys.shape, fitted.labels.shape) == ((classes * shots, 16), (classes * shots,))
    torch.testing.assert_close(fitted.keys.norm(dim=1), torch.ones(classes * shots))
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)


def test_all_eleven_published_ranges_are_held() -> None:
    assert len(PUBLISHED_SEARCH) == 11
    assert TipAdapter().search == PUBLISHED_SEARCH["ImageNet"]
