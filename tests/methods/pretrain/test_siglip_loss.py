from __future__ import annotations

import math

import pytest
import torch
from open_clip.loss import SigLipLoss as Theirs
from torch import nn
from torch.nn.functional import normalize

from diptych.methods.pretrain.siglip_loss import SigLIPLoss
from tests.methods.pretrain.oracle import CLOCK, assert_same, embedded, leaves


@pytest.mark.parametrize("chunk", [None, 2])
def test_equals_open_clip_in_value_and_gradient(chunk) -> None:
    def theirs(t):
        return Theirs()(normalize(t["image"], dim=-1), normalize(t["text"], dim=-1), t["log_scale"].exp(), t["bias"])

    assert_same(lambda t: SigLIPLoss(chunk=chunk).terms(embedded(t), nn.Identity(), CLOCK)["sigmoid"], theirs)


def test_every_cell_is_even_at_scale_and_bias_zero() -> None:
    t = leaves() | {"log_scale": torch.tensor(-torch.inf).double(), "bias": torch.tensor(0.0).double()}
    assert SigLIPLoss().terms(embedded(t), nn.Identity(), CLOCK)["sigmoid"].item() == pytest.approx(5 * math.log(2))
