"""Shorter embeddings: the first numbers of a rotation that ships with a model. It does not import torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.lite_files import ROTATION, SHORT
from diptych.core import Spec, UsageError

Vectors = NDArray[np.floating[Any]]


def check_width(spec: Spec, width: int) -> None:
    """Check that a model can give embeddings of a width.

    Raises:
        UsageError: it has no rotation, or the width is none of its own.
    """
    if width == spec.dim:
        return
    if spec.name not in ("lite", SHORT) or spec.weights.startswith("state:"):
        raise UsageError(
            f"{spec.name} has {spec.dim} dimensions and cannot give {width}: leave the number out, or ask lite, which "
            "has a rotation for that."
        )
    if not 1 <= width <= _rotation().shape[1]:
        raise UsageError(
            f"{spec.name} gives 1 to {_rotation().shape[1]} dimensions, or all {spec.dim}, and not {width}: change "
            "the number, or leave it out."
        )


def at_width(vectors: Vectors, spec: Spec, width: int) -> Vectors:
    """Return (N, width) embeddings of length 1; the vectors themselves where they have that width.

    Args:
        vectors: (N, D) embeddings of the model.
        spec: of the model.
        width: numbers that remain, see ``check_width``.

    Raises:
        UsageError: the model cannot give that width.
    """
    check_width(spec, width)
    if width == spec.dim:
        return vectors
    turned = vectors[:, :width] if spec.name == SHORT else vectors @ _rotation()[:, :width]
    return turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), np.finfo(np.float32).tiny)


@cache
def _rotation() -> NDArray[np.float32]:
    from safetensors.numpy import load_file

    return load_file(ROTATION)["rotation"].astype(np.float32)
