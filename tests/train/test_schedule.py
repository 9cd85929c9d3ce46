from __future__ import annotations

import pytest
import torch
from open_clip_train.scheduler import const_lr, const_lr_cooldown, cosine_lr

from diptych.core import UsageError
from diptych.train.schedule import Fit, Schedule


@pytest.mark.parametrize(("kind", "theirs"), [("cosine", cosine_lr), ("constant", const_lr)])
def test_equals_open_clip(kind, theirs) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    lr = theirs(optimizer, 0.3, 7, 50)
    ours = Schedule(kind, warmup=7)
    for step in range(50):
        assert 0.3 * ours.factor(step, 50) == pytest.approx(lr(step), rel=1e-12)


def test_cosine_ends_at_its_floor() -> None:
    assert Schedule(floor=0.1).factor(100, 100) == pytest.approx(0.1)
    assert Schedule(floor=0.1).factor(0, 100) == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"epochs": 1, "steps": 1},
        {"steps": 1, "seconds": 1.0},
        {"seconds": 0.0},
        {"steps": 0},
        {"steps": 1, "accumulate": 0},
        {"steps": 1, "ema": 1.0},
        {"steps": 1, "keep": 0},
        {"steps": 2, "schedule": Schedule("constant", cooldown=3)},
        {"steps": 1, "eps": -1.0},
        {"steps": 1, "eps": float("nan")},
        {"steps": 1, "betas": (2.0, 0.9)},
        {"steps": 1, "betas": (0.9, 1.0)},
    ],
)
def test_contradictions_are_refused(wrong) -> None:
    with pytest.raises(UsageError):
        Fit(lr=0.1, batch=4, **wrong)


def test_the_cool_down_equals_open_clips() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    lr = const_lr_cooldown(optimizer, 0.3, 7, 50, 20, 1.0, 0.03)
    ours = Schedule("constant", warmup=7, floor=0.1, cooldown=20)
    for step in range(50):
        assert 0.3 * ours.factor(step, 50) == pytest.approx(lr(step), rel=1e-12)


def test_a_constant_rate_cools_down_in_its_last_steps() -> None:
    schedule = Schedule("constant", warmup=2, floor=0.1, cooldown=3)
    assert [round(schedule.factor(t, 8), 3) for t in range(8)] == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.7, 0.4]


def test_a_warm_up_is_at_most_a_share_of_the_steps() -> None:
    schedule = Schedule(warmup=20, warmup_share=0.1)
    for steps, warm in ((5, 0), (30, 3), (70, 7), (200, 20), (1000, 20)):
        theirs = Schedule(warmup=warm)
        assert [schedule.factor(t, steps) for t in range(steps)] == [theirs.factor(t, steps) for t in range(steps)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"kind": "linear"}, "cosine or constant"), ({"cooldown": 3}, "no place there"), ({"floor": 2.0}, "floor")],
)
def test_schedules_that_cannot_be(wrong, said) -> None:
    with pytest.raises(UsageError, match=said):
        Schedule(**wrong)
