from __future__ import annotations

import pytest
import torch
from open_clip_train.scheduler import const_lr, cosine_lr

from diptych.core.errors import UsageError
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
    ],
)
def test_contradictions_are_refused(wrong) -> None:
    with pytest.raises(UsageError):
        Fit(lr=0.1, batch=4, **wrong)
