from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import Backbone, DataError, Kit, MissingEvidence, Run
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.methods.classify import clap
from diptych.methods.classify.clap import CLAP, multipliers, rate_of, text_means
from diptych.nn.descent import cosine_slope
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused


def numpy_fit(
    x: np.ndarray, y: np.ndarray, t: np.ndarray, scale: float, weight: float, epochs: int, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Full batches: the order of the rows does not matter then."""

    def probabilities(w: np.ndarray) -> np.ndarray:
        values = scale * x @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
        e = np.exp(values - values.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    k, w, velocity = len(t), t.copy(), np.zeros_like(t)
    first = probabilities(t)
    held = np.array([np.mean([p[c] for p, label in zip(first, y, strict=True) if label == c]) for c in range(k)])
    for epoch in range(epochs):
        slope = (probabilities(w) - np.eye(k)[y]) / len(x)
        gradient = np.zeros_like(w)
        for c in range(k):
            length = np.linalg.norm(w[c])
            along = w[c] / length
            towards = scale * slope[:, c] @ x
            gradient[c] = (towards - (towards @ along) * along) / length + 2 * weight * held[c] * (w[c] - t[c]) / k
        velocity = 0.9 * velocity + gradient
        w = w - (1e-5 if epoch == 0 else rate * (1 + np.cos(np.pi * epoch / epochs)) / 2) * velocity
    return w, held


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_equals_a_numpy_restatement_end_to_end(weight: float, run: Run) -> None:
    names, evidence, test = task()
    backbone = SmallBackbone()
    kit = Kit({"main": backbone})
    assert evidence.train is not None
    fitted = CLAP(weight=weight, epochs=12, views=1).fit(kit, names, evidence, run)
    views = embed(backbone.image, evidence.train.items, run, views=replace(TIP_VIEWS, draws=1))
    x = normalize(views[:, 0], dim=-1).double().numpy()
    t = text_means(backbone, names.prompts(), run).double().numpy()
    scale = float(backbone.scale("image", "text")[0])
    w, held = numpy_fit(x, evidence.train.labels(), t, scale, weight, 12, 0.1)
    np.testing.assert_allclose(fitted.held.numpy(), held, rtol=1e-4)
    np.testing.assert_allclose(fitted.vectors.numpy(), w, rtol=1e-3, atol=1e-4)
    z = normalize(embed(backbone.image, test.items, run), dim=1).double().numpy()
    expected = scale * z @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
    np.testing.assert_allclose(fitted.scores(test.items, run).values.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_no_epoch_leaves_the_vectors_at_the_text(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    fitted = CLAP(epochs=0, views=1).fit(kit, names, evidence, run)
    assert torch.equal(fitted.vectors, text_means(SmallBackbone(), names.prompts(), run))


def test_the_constraint_holds_the_vectors_nearer_to_the_text(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    t = text_means(SmallBackbone(), names.prompts(), run)

    def away(weight: float) -> float:
        vectors = CLAP(weight=weight, epochs=40, views=2).fit(kit, names, evidence, run).vectors
        return float((vectors - t).norm())

    free, held, tight = away(0.0), away(1.0), away(10.0)
    assert tight < 0.5 * held < 0.5 * free


def test_multipliers_are_one_where_zero_shot_is_sure_and_right() -> None:
    assert torch.equal(multipliers(torch.eye(3), torch.arange(3)), torch.ones(3))
    assert torch.equal(multipliers(torch.eye(3), torch.tensor([1, 2, 0])), torch.zeros(3))


def test_prompts_of_a_class_are_averaged_with_their_lengths(run: Run) -> None:
    backbone = SmallBackbone()
    alone = text_means(backbone, [["a"], ["b c"]], run)
    both = text_means(backbone, [["a", "b c"], ["a"]], run)
    torch.testing.assert_close(both[0], alone.mean(0))
    torch.testing.assert_close(both[1], alone[0])


def test_the_rate_falls_along_a_cosine() -> None:
    assert [rate_of(e, 300, 0.1) for e in (0, 150)] == [1e-5, pytest.approx(0.05)]
    assert all(rate_of(e, 300, 0.1) > rate_of(e + 1, 300, 0.1) > 0 for e in range(1, 299))


def test_views_and_batches_learn_what_the_pictures_show(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    fitted = CLAP(views=3, batch=10, epochs=60).fit(kit, names, replace(evidence, val=None), run)
    assert (fitted.scores(test.items, run).predicted().numpy() == test.labels()).mean() > 0.9


@pytest.mark.parametrize(
    ("whole", "batch", "sizes"),
    [
        (True, 10, [10, 10, 10]),
        (True, 50, [50]),
        (True, 200, [96]),
        (False, 10, [8, 8, 8, 8]),
        (False, 50, [32]),
    ],
)
def test_a_step_takes_a_whole_batch_of_all_views_or_an_even_part_of_as_many_as_shots(
    whole: bool, batch: int, sizes: list[int], kit: Kit, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 32 shots with three views each the authors' loader takes three batches of 10, or one of 50."""
    taken: list[int] = []

    def counted(backbone: Backbone, z: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        taken.append(len(z))
        return cosine_slope(backbone, z, *rest)

    monkeypatch.setattr(clap, "cosine_slope", counted)
    names, evidence, _ = task(classes=4, shots=8)
    CLAP(views=3, batch=batch, epochs=1, whole=whole).fit(kit, names, evidence, run)
    assert taken == sizes


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(CLAP, {"weight": -1.0}, {"epochs": -1}, {"rate": 0.0}, {"batch": 0}, {"views": 0})
    with pytest.raises(MissingEvidence, match=r"evidence\.train is missing"):
        CLAP().fit(kit, names, replace(evidence, train=None), run)
    with pytest.raises(DataError, match="'tea cup'"):
        CLAP().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)
