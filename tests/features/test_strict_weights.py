from __future__ import annotations

import pytest
import torch
from torch import nn, ones

from diptych.core import DataError
from diptych.features.strict_weights import check_names, check_tensors, load_tensors


def test_all_weights_are_loaded() -> None:
    layer = nn.Linear(2, 1)
    load_tensors(layer, {"weight": ones(1, 2), "bias": ones(1)})
    assert layer(ones(1, 2)).item() == 3
    load_tensors(layer, {"bias": -ones(1)}, ["bias"])
    assert layer(ones(1, 2)).item() == 1


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"weight": ones(1, 2)}, "bias missing"),
        ({"weight": ones(1, 2), "bias": ones(1), "odd": ones(1)}, "odd unknown"),
        ({"weight": ones(2, 1), "bias": ones(1)}, r"weight of shape \(2, 1\), not \(1, 2\)"),
        ({"a": ones(1), "b": ones(1)}, "bias missing, weight missing, a unknown and 1 more"),
    ],
)
def test_what_does_not_fit_is_named(tensors: dict[str, torch.Tensor], says: str) -> None:
    layer = nn.Linear(2, 1)
    before = layer.weight.clone()
    with pytest.raises(DataError, match=says):
        load_tensors(layer, tensors)
    assert torch.equal(layer.weight, before)


def test_some_names_may_be_there_and_types_may_count() -> None:
    layer = nn.Linear(2, 1)
    check_tensors(layer, {"weight": ones(1, 2), "bias": ones(1)}, ["weight"], optional=["bias"])
    check_tensors(layer, {"weight": ones(1, 2).double(), "bias": ones(1)})
    with pytest.raises(DataError, match=r"weight of torch\.float64, not torch\.float32"):
        check_tensors(layer, {"weight": ones(1, 2).double(), "bias": ones(1)}, types=True)


def test_one_of_several_sets_of_names_must_be_there() -> None:
    check_names({"a"}, (), ("a",), ("a", "b", "c"))
    check_names({}, (), ("a",))
    with pytest.raises(DataError, match=r"\(b missing\)"):
        check_names({"a", "c"}, (), ("a", "b", "c"))
