"""Tensors of released files: frozen ones are compared, the others must be the wanted ones."""

from __future__ import annotations

import pytest
import torch

from diptych.backbones.sources.load import load
from diptych.core import Backbone, ClassNames, DataError, UsageError
from diptych.features.released_tensors import check_released, frozen_apart, named_classes


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load("tiny")


def test_frozen_tensors_are_those_of_the_backbone_in_half_precision_too(backbone: Backbone) -> None:
    state = backbone.module().state_dict()
    name = min(n for n in state if n.startswith("visual.") and state[n].is_floating_point())
    own = {"context": torch.ones(2, 3)}
    learnt = {**own, f"backbone.{name}": state[name].half()}
    assert list(frozen_apart(learnt, backbone, "a.pth")) == ["context"]
    for wrong in (state[name] + 1, state[name][:1] if state[name].ndim else state[name] + 2):
        with pytest.raises(DataError, match=f"a.pth holds a frozen backbone.{name} that is not the one of tiny"):
            frozen_apart({**own, f"backbone.{name}": wrong}, backbone, "a.pth")
    with pytest.raises(DataError, match=r"a frozen backbone\.nothing\.here that is not"):
        frozen_apart({"backbone.nothing.here": torch.ones(1)}, backbone, "a.pth")


def test_what_is_left_must_be_what_is_wanted() -> None:
    wanted = {"a": torch.zeros(2), "b": torch.zeros(1)}
    half = {"a": torch.ones(2).half(), "b": torch.ones(1).half()}
    assert {n: t.dtype for n, t in check_released(half, wanted, "X").items()} == dict.fromkeys("ab", torch.float32)
    with pytest.raises(DataError, match=r"does not fit X, tensors 1 missing \(b\); 1 unexpected \(c\)"):
        check_released({"a": torch.ones(2), "c": torch.ones(1)}, wanted, "X")


def test_classes_must_be_given() -> None:
    names = ClassNames(("cat", "dog"))
    assert named_classes(names, "CoOp") is names
    with pytest.raises(UsageError, match=r"does not hold the names of the classes .* give names in the authors' order"):
        named_classes(None, "CoOp")
