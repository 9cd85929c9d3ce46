from __future__ import annotations

import math

import pytest
import torch
from open_clip.loss import ClipLoss as Theirs
from torch import nn
from torch.nn.functional import normalize

from diptych.core import Embedded
from diptych.methods.pretrain.clip_loss import CLIPLoss
from tests.methods.pretrain.oracle import CLOCK, assert_same, embedded, leaves


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_equals_open_clip_in_value_and_gradient(chunk, bias) -> None:
    def theirs(t):
        x, y = normalize(t["image"], dim=-1), normalize(t["text"], dim=-1)
        return Theirs()(x, y, t["log_scale"].exp(), t["bias"] if bias else None)

    assert_same(lambda t: CLIPLoss(chunk=chunk).terms(embedded(t), nn.Identity(), CLOCK)["contrastive"], theirs)


def test_a_collapsed_model_stays_at_ln_n() -> None:
    t = leaves() | {"image": torch.ones(5, 6).double(), "text": torch.ones(5, 6).double()}
    assert CLIPLoss().terms(embedded(t), nn.Identity(), CLOCK)["contrastive"].item() == pytest.approx(math.log(5))


def test_any_pair_of_modalities() -> None:
    t = leaves()
    e = embedded(t)
    other = Embedded({"spectrum": e.vectors["image"], "curve": e.vectors["text"]}, e.scale, e.gather)
    a = CLIPLoss().terms(e, nn.Identity(), CLOCK)["contrastive"]
    b = CLIPLoss(pair=("spectrum", "curve")).terms(other, nn.Identity(), CLOCK)["contrastive"]
    assert torch.equal(a, b)


def test_has_no_heads() -> None:
    assert not list(CLIPLoss().heads(None).parameters())  # type: ignore[arg-type]
