"""Tensors of files that authors released, checked before a fitted object takes them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from diptych.backbones.released import misfit
from diptych.core import Backbone, ClassNames, DataError, UsageError


def frozen_apart(learnt: Mapping[str, Tensor], backbone: Backbone, source: str) -> dict[str, Tensor]:
    """Return what a released file holds without the tensors "backbone.NAME", which must be those of the backbone.

    Args:
        learnt: translated by ``backbones.released``.
        backbone: that the caller gives.
        source: the file, for messages.

    Raises:
        DataError: one is no tensor of the backbone, or has other values: the file belongs to another one.
    """
    state = backbone.module().state_dict()
    kept: dict[str, Tensor] = {}
    for name, tensor in learnt.items():
        if not name.startswith("backbone."):
            kept[name] = tensor
            continue
        inner = name.removeprefix("backbone.")
        own = state.get(inner, state.get(f"text.{inner}"))
        if (
            own is None
            or own.shape != tensor.shape
            or not torch.allclose(
                own.float().cpu(),
                tensor.float(),
                rtol=2e-3,
                atol=1e-4,  # some authors keep theirs in float16
            )
        ):
            raise DataError(
                f"{source} holds a frozen {inner} that is not the one of {backbone.spec.name}: give the backbone that "
                f"the file was trained on."
            )
    return kept


def named_classes(classes: ClassNames | None, system: str) -> ClassNames:
    """Return the classes of a released file's training.

    Raises:
        UsageError: they are missing, and the file does not hold them.
    """
    if classes is None:
        raise UsageError(
            f"A released file of {system} does not hold the names of the classes that it was trained on: give "
            f"{{names}} in the authors' order."
        )
    return classes


def check_released(learnt: Mapping[str, Tensor], wanted: Mapping[str, Tensor], system: str) -> dict[str, Tensor]:
    """Return the tensors of a released file in float32, where they are the wanted ones.

    Raises:
        DataError: tensors are missing, unexpected or of another shape; the first three of each are named.
    """
    said = misfit(learnt, wanted)
    if said:
        raise DataError(
            f"The released file does not fit {system}, tensors {said}: give the backbone and the settings that it was "
            f"trained with."
        )
    return {name: t.float().contiguous() for name, t in learnt.items()}
