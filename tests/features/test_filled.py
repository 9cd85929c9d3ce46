from __future__ import annotations

import pytest
import torch
from torch import nn

from diptych.core import DataError
from diptych.features.filled import fill


def test_buffers_may_be_there_and_nothing_else() -> None:
    norm = nn.BatchNorm1d(2)
    learnt = {"weight": torch.tensor([2.0, 3.0]), "running_mean": torch.tensor([1.0, 1.0])}
    fill(norm, learnt, ["weight"], "a norm", optional=["running_mean", "running_var"])
    assert norm.weight.tolist() == [2, 3]
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [1, 1]
    with pytest.raises(
        DataError, match=r"does not fit a norm, tensors 1 missing \(bias\); 1 unexpected \(running_mean\)"
    ):
        fill(norm, learnt, ["weight", "bias"], "a norm")
    with pytest.raises(DataError, match=r"1 of another shape \(weight\)"):
        fill(norm, {"weight": torch.ones(3)}, ["weight"], "a norm")
