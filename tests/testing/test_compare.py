from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from diptych.core import Text
from diptych.testing.compare import close, contents, global_dice, global_state, same
from tests.support.backbone import SmallBackbone


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), [0.0, 0.0]),
        (np.zeros(2), np.array([0.0, 1e-12])),
        ([1.0], (1.0,)),
        ({"a": 1.0}, {"b": 1.0}),
        (Text("a"), Text("a", "writer")),
        (SmallBackbone(), SmallBackbone(1)),
        (1.0, 1),
    ],
)
def test_what_differs_is_not_the_same(a: object, b: object) -> None:
    assert not same(a, b)
    assert same(a, a)
    assert same(b, b)


def test_close_is_absolute_and_relative() -> None:
    assert close({"x": [100.0, float("nan")]}, {"x": [100.9, float("nan")]}, 1e-2, 0.0)
    assert not close([100.0], [101.1], 1e-2, 0.0)
    assert close(torch.tensor([0.0]), torch.tensor([1e-3]), 0.0, 2e-3)
    assert not close(["a"], ["b"], 1.0, 1.0)


def test_global_generators_are_lent_and_given_back() -> None:
    before = global_state()
    draws = []
    for seed in (1, 1, 2):
        with global_dice(seed):
            draws.append((torch.rand(1).item(), np.random.rand(), random.random()))  # noqa: NPY002
    assert draws[0] == draws[1] != draws[2]
    assert global_state() == before
    torch.rand(1)
    assert [n for n, v in global_state().items() if v != before[n]] == ["the generator of torch"]


def test_contents_are_copies() -> None:
    backbone = SmallBackbone()
    before = contents(backbone)
    assert same(contents(backbone), before)
    next(backbone.module().parameters()).data.add_(1)
    assert not same(contents(backbone), before)
