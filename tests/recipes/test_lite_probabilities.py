"""The fit finds the numbers that drew the labels, a part of a list has its own nearest name, halves stay apart."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.core import Run
from recipes.lite_probabilities import OWN, SIZES, Task, fall, fitted, measured, task, tasks

TRUE = (3.0, 0.8, -0.5, -0.1)
TOO_SURE = (6.0, 0.0, 0.0, 0.0)


def drawn(names: str = "everyday words", k: int = 30, n: int = 1500, seed: int = 0) -> Task:
    """A task whose labels are drawn from the probabilities under ``TRUE``."""
    g = np.random.default_rng(seed)
    spread = 10 ** g.uniform(-3, 0, size=(n, 1))
    p = np.array([g.dirichlet(np.full(40, float(s))) for s in spread[:, 0]])
    cosines = g.uniform(0, 0.3, size=(n, k)) * g.uniform(0.2, 1, size=(n, 1))
    made = task("clean", names, p, np.eye(k, 40), np.zeros(n, np.int64), np.arange(n) % 2 == 1)
    made = Task("clean", names, cosines, made.labels, made.facts, made.odd)
    log_m = np.log(cosines.max(axis=1))
    facts = np.stack([np.ones(n), made.facts[:, 1], log_m, log_m**2], axis=1)
    z = np.exp(facts @ np.array(TRUE))[:, None] * cosines
    q = np.exp(z - z.max(axis=1, keepdims=True))
    labels = np.array([g.choice(k, p=row) for row in q / q.sum(axis=1, keepdims=True)])
    return Task("clean", names, cosines, labels, facts, made.odd)


@pytest.fixture(scope="module")
def whole() -> Task:
    return drawn()


def test_the_fit_finds_the_scales_that_drew_the_labels(whole: Task) -> None:
    w = fitted([whole])
    found, true = (np.exp(whole.facts @ np.array(v)) for v in (w, TRUE))
    assert np.median(np.abs(np.log(found / true))) < 0.2
    assert fitted([whole], columns=1)[1:] == (0.0, 0.0, 0.0)


def test_tasks_of_one_half_hold_no_picture_of_the_other(whole: Task) -> None:
    halves = [list(tasks([whole], odd=odd)) for odd in (False, True)]
    for odd, found in enumerate(halves):
        assert len(found[0].labels) == 750
        assert all((t.odd == bool(odd)).all() for t in found)
        assert {t.cosines.shape[1] for t in found} == {30, *(s for s in SIZES if s < 30)}
    part = halves[0][-1]
    np.testing.assert_allclose(np.exp(part.facts[:, 2]), np.maximum(part.cosines.max(axis=1), 0.02))


def test_a_part_of_a_list_keeps_the_true_name(whole: Task) -> None:
    chosen = np.array([1, 4, 9])
    rows = np.flatnonzero(np.isin(whole.labels, chosen))
    part = whole.take(rows, chosen)
    assert (chosen[part.labels] == whole.labels[rows]).all()
    assert part.cosines.shape == (len(rows), 3)


def test_the_true_scales_leave_a_smaller_error_than_one_that_is_too_sure(whole: Task) -> None:
    own = drawn(OWN, seed=1)
    held = list(tasks([whole, own], odd=True))
    arms = {"too_sure": TOO_SURE, "true": TRUE}
    found = measured(held, arms, Run())
    assert list(found["proxies"]) == ["clean, everyday words", f"clean, {OWN}"]
    row = found["proxies"]["clean, everyday words"]
    assert row["true"]["low"] <= row["true"]["value"] <= row["true"]["high"]
    assert found["mean"]["true"] == row["true"]["value"] < row["too_sure"]["value"], "own names are no part of the mean"
    assert list(found["mean_of_lists"]) == sorted(found["mean_of_lists"])
    gain = fall([whole, own], TOO_SURE, TRUE, Run())
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    assert gain["value"] == pytest.approx(row["too_sure"]["value"] - row["true"]["value"])
