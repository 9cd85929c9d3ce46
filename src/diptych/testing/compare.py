"""Whether two answers are the same, and what a call changed of what it must not touch."""

from __future__ import annotations

import dataclasses
import math
import pickle
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.core import Space


def same(a: Any, b: Any) -> bool:
    """Return whether two answers are equal to the last bit: tensors, arrays, plain values, dataclasses of such.

    Example:
        >>> same({"x": torch.zeros(2)}, {"x": torch.zeros(2)}), same([1.0], [1.0 + 1e-9])
        (True, False)
    """
    return _alike(a, b, lambda x, y: x.shape == y.shape and torch.equal(x, y), lambda x, y: x == y)


def close(a: Any, b: Any, relative: float, absolute: float) -> bool:
    """Return whether numbers differ by at most ``absolute`` plus ``relative`` times their size, and all else is equal.

    Example:
        >>> close([1.0, "a"], [1.0005, "a"], 1e-3, 0.0), close([1.0], [1.1], 1e-3, 1e-3)
        (True, False)
    """

    def tensors(x: Tensor, y: Tensor) -> bool:
        return x.shape == y.shape and torch.allclose(
            x.double(), y.double(), rtol=relative, atol=absolute, equal_nan=True
        )

    return _alike(a, b, tensors, lambda x, y: x == y or abs(x - y) <= absolute + relative * abs(y))


def _alike(a: Any, b: Any, tensors: Callable[[Tensor, Tensor], bool], numbers: Callable[[float, float], bool]) -> bool:
    def alike(x: Any, y: Any) -> bool:
        return _alike(x, y, tensors, numbers)

    if isinstance(a, np.ndarray) and a.dtype.kind in "fiub":
        return isinstance(b, np.ndarray) and tensors(torch.from_numpy(a.copy()), torch.from_numpy(b.copy()))
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and tensors(a.cpu(), b.cpu())
    if isinstance(a, Space):
        return isinstance(b, Space) and a.fingerprint == b.fingerprint
    if isinstance(a, float):
        return isinstance(b, float) and ((math.isnan(a) and math.isnan(b)) or numbers(a, b))
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return type(a) is type(b) and all(alike(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    return bool(a == b)


@contextmanager
def global_dice(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python inside, and give them back as they were."""
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed devices
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        yield
    finally:
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        random.setstate(state[2])


def global_state() -> dict[str, Any]:
    """Return what no system may change in its process, by name."""
    return {
        "the generator of torch": torch.get_rng_state().tolist(),
        "the generator of NumPy": repr(np.random.get_state()),  # noqa: NPY002
        "the generator of Python": random.getstate(),
        "the number of threads": torch.get_num_threads(),
        "the default type of torch": torch.get_default_dtype(),
        "the gradient mode": torch.is_grad_enabled(),
        "the choice of deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the filters of warnings": list(warnings.filters),
    }


def contents(space: Space) -> tuple[dict[str, Tensor], dict[str, bool], bool]:
    """Return copies of the weights of a space, which of them take gradients, and whether it is in training mode."""
    module = space.module()
    weights = {name: value.detach().clone() for name, value in module.state_dict().items()}
    return weights, {name: p.requires_grad for name, p in module.named_parameters()}, module.training


def digest(material: Any) -> bytes:
    """Return bytes that are equal where nothing was written into generated items and columns."""
    return pickle.dumps(material)
