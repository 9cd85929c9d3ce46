"""How a fitted system runs its networks."""

from __future__ import annotations

import pytest
import torch

from diptych.core import Run
from diptych.features.inference import inference


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_networks_run_without_gradients_in_the_precision_of_the_run(precision: str, dtype: torch.dtype) -> None:
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with inference(Run(precision=precision)):
        y = layer(x)
    assert y.dtype == dtype
    assert not y.requires_grad
    assert layer(x).requires_grad
    assert layer(x).dtype == torch.float32


def test_modes_come_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="broken"), inference(Run(precision="bf16")):
        raise ValueError("broken")
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
