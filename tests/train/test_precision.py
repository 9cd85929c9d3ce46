"""What runs in which precision."""

from __future__ import annotations

import pytest
import torch

from diptych.core import Run, UsageError
from diptych.train.precision import Precision


@pytest.mark.parametrize(("name", "kind"), [("fp32", torch.float32), ("int8", torch.float32), ("bf16", torch.bfloat16)])
def test_products_have_the_precision_of_the_run(name: str, kind: torch.dtype) -> None:
    precision, x = Precision(Run(precision=name)), torch.randn(2, 2)
    with precision.autocast():
        assert (x @ x).dtype == kind
    assert not precision.scaler.is_enabled()


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(UsageError, match="use bf16 or fp32"):
        Precision(Run(precision="fp16"))
