"""A bias for sigmoid losses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from diptych.backbones.changes.apply import apply, changed
from diptych.backbones.sources.load import load
from diptych.core import Change, MissingHook


def test_a_bias_is_added_once_to_open_clip_models() -> None:
    tiny = load("tiny")
    biased = changed(tiny, "logit-bias", scale=10.0, bias=-10.0)
    with pytest.raises(MissingHook, match="without one"):
        changed(biased, "logit-bias", scale=10.0, bias=-10.0)
    assert math.isclose(biased.scale()[0].item(), 10.0, rel_tol=1e-6)
    with pytest.raises(MissingHook):
        apply(
            torch.nn.Identity(), replace(tiny.spec, family="lite"), [Change("logit-bias", {"scale": 1.0, "bias": 0.0})]
        )
