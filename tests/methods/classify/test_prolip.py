from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from diptych.core import DataError, Kit, MissingEvidence, MissingHook, Run
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import text_head
from diptych.methods.classify.prolip import EPSILON, ProLIP, linear_projection
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused
from tests.support.small_clip import small_clip


def numpy_fit(
    h: np.ndarray,
    y: np.ndarray,
    start: np.ndarray,
    head: np.ndarray,
    scale: float,
    weight: float,
    epochs: int,
    rate: float,
) -> np.ndarray:
    """Adam on (views, rows, C) inputs, one view an epoch, with slopes written out row by row."""
    w, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for epoch in range(epochs):
        gradient = 2 * weight * (w - start)
        for row, label in zip(h[epoch % len(h)], y, strict=True):
            u = row @ w
            length = np.linalg.norm(u)
            values = scale * head @ (u / length)
            p = np.exp(values - values.max())
            p /= p.sum()
            p[label] -= 1
            towards = scale * p @ head
            gradient += np.outer(row, (towards - (towards @ u) * u / length**2) / length) / len(y)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = rate * (1 + np.cos(np.pi * epoch / epochs)) / 2
        t = epoch + 1
        w = w - step * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + EPSILON)
    return w


@pytest.mark.parametrize("penalty", [1.0, 0.0, 5.0])
def test_the_adapter_equals_a_numpy_restatement_end_to_end(penalty: float, run: Run) -> None:
    names, evidence, test = task()
    backbone = SmallBackbone()
    assert evidence.train is not None
    system = ProLIP(place="embedding", penalty=penalty, rate=1e-2, epochs=15, views=2)
    fitted = system.fit(Kit({"main": backbone}), names, evidence, run)
    views = embed(backbone.image, evidence.train.items, run, views=replace(TIP_VIEWS, draws=2))
    head = text_head(backbone, names.prompts(), run).double().numpy()
    scale, y = float(backbone.scale("image", "text")[0]), evidence.train.labels()
    held = penalty * len(names) / len(y)
    w = numpy_fit(views.double().numpy().swapaxes(0, 1), y, np.eye(backbone.image.dim), head, scale, held, 15, 1e-2)
    np.testing.assert_allclose(fitted.matrix.numpy(), w, rtol=1e-3, atol=1e-4)
    z = embed(backbone.image, test.items, run).double().numpy() @ w
    expected = scale * (z / np.linalg.norm(z, axis=1, keepdims=True)) @ head.T
    np.testing.assert_allclose(fitted.scores(test.items, run).values.numpy(), expected, rtol=1e-3, atol=1e-2)


@pytest.fixture
def clip(tmp_path: Any) -> Any:
    return small_clip(tmp_path / "clip", "vit")


def test_the_projection_of_a_clip_is_its_own_and_starts_at_zero_shot(clip: Any, run: Run) -> None:
    names, evidence, test = task()
    found = linear_projection(clip)
    assert found is not None
    trunk, weight, shift = found
    z = embed(trunk, test.items, run) @ weight + shift
    torch.testing.assert_close(z, embed(clip.image, test.items, run), rtol=1e-4, atol=1e-5)
    fitted = ProLIP(epochs=0).fit(Kit({"main": clip}), names, evidence, run)
    assert fitted.projects
    zero_shot = ZeroShot().fit(Kit({"main": clip}), names, evidence, run)
    torch.testing.assert_close(
        fitted.scores(test.items, run).values, zero_shot.scores(test.items, run).values, rtol=1e-4, atol=1e-3
    )


def test_training_changes_the_projection_and_leaves_the_backbone(clip: Any, run: Run) -> None:
    names, evidence, test = task()
    before = embed(clip.image, test.items, Run())
    fitted = ProLIP(epochs=20, rate=1e-3, views=1).fit(Kit({"main": clip}), names, evidence, run)
    found = linear_projection(clip)
    assert found is not None
    assert not torch.equal(fitted.matrix, found[1])
    assert torch.equal(embed(clip.image, test.items, Run()), before)


def test_the_penalty_holds_the_matrix_nearer_to_its_start(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()

    def away(penalty: float) -> float:
        w = ProLIP(penalty=penalty, rate=1e-2, epochs=40, views=2).fit(kit, names, evidence, run).matrix
        return float((w - torch.eye(len(w))).norm())

    free, held, tight = away(0.0), away(1.0), away(100.0)
    assert tight < 0.5 * held < 0.5 * free


def test_a_few_labels_teach_what_the_pictures_show(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    fitted = ProLIP(rate=1e-2, views=3, epochs=60).fit(kit, names, replace(evidence, val=None), run)
    assert (fitted.scores(test.items, run).predicted().numpy() == test.labels()).mean() > 0.9
    assert not fitted.projects


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(ProLIP, {"penalty": -1.0}, {"epochs": -1}, {"rate": 0.0}, {"views": 0}, {"place": "text"})
    with pytest.raises(MissingEvidence, match=r"evidence\.train is missing"):
        ProLIP().fit(kit, names, replace(evidence, train=None), run)
    with pytest.raises(MissingHook, match="no linear projection"):
        ProLIP(place="projection").fit(kit, names, evidence, run)
    with pytest.raises(DataError, match="'tea cup'"):
        ProLIP().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)
