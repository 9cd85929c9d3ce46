"""A learnt bias on the logits of pairs, which sigmoid losses need, with the scale at its start."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from diptych.core import MissingHook, Spec


def added(module: nn.Module, spec: Spec, *, scale: float, bias: float) -> Spec:
    """Give an open_clip model a bias, and set its scale. Modified in place.

    Args:
        module: open_clip's CLIP, CoCa or CustomTextCLIP, without a bias.
        spec: what it is.
        scale: start of the scale, > 0.
        bias: start of the bias.

    Returns:
        The spec with the score "sigmoid".

    Raises:
        MissingHook: the model has no scale, or a bias already, or reads none.
    """
    model: Any = module
    if spec.family != "openclip" or getattr(model, "logit_bias", None) is not None:
        raise MissingHook(f"{spec.name} takes no bias on its logits: use an open_clip backbone without one.")
    like = model.logit_scale
    model.logit_bias = nn.Parameter(torch.full_like(like, bias))
    with torch.no_grad():
        like.fill_(math.log(scale))
    return replace(spec, score="sigmoid")
