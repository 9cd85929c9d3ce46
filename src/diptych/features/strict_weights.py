"""Weights that are loaded by name, all of them: none is missing, unknown or of another shape.

Example:
    >>> from torch import nn, ones
    >>> load_tensors(nn.Linear(2, 1), {"weight": ones(1, 2), "biases": ones(1)})
    Traceback (most recent call last):
    diptych.core.errors.DataError: The tensors do not fit (bias missing, biases unknown): fit again, or use the ...
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from diptych.core import DataError
from diptych.core.wording import first_of


def check_names(given: Collection[str], *choices: Collection[str]) -> None:
    """Refuse tensors of other names than a fitted object reads.

    Args:
        given: names of the tensors, or the tensors by name.
        choices: names, all of which must be there and no others; of several such sets, the nearest is taken.

    Raises:
        DataError: a name is missing or unknown; the first three are named.
    """
    there = set(given)
    wanted = set(min(choices, key=lambda names: len(there.symmetric_difference(names))))
    wrong = [f"{name} missing" for name in sorted(wanted - there)]
    _refuse([*wrong, *(f"{name} unknown" for name in sorted(there - wanted))])


def check_tensors(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    names: Collection[str] | None = None,
    *,
    optional: Collection[str] = (),
    types: bool = False,
) -> None:
    """Refuse tensors that are not those of a module.

    Args:
        module: that takes them.
        tensors: by name.
        names: that must be there; None: all of the module.
        optional: names that may be there too.
        types: whether the numbers must be of the module's type.

    Raises:
        DataError: a tensor is missing, unknown, or of another shape or type; the first three are named.
    """
    state = module.state_dict()
    wanted = state.keys() if names is None else set(names)
    wrong = [f"{name} missing" for name in sorted(wanted - tensors.keys())]
    wrong += [f"{name} unknown" for name in sorted(tensors.keys() - wanted - set(optional))]
    for name in sorted(tensors.keys() & state.keys()):
        there, given = state[name], tensors[name]
        if there.shape != given.shape:
            wrong.append(f"{name} of shape {tuple(given.shape)}, not {tuple(there.shape)}")
        elif types and there.dtype != given.dtype:
            wrong.append(f"{name} of {given.dtype}, not {there.dtype}")
    _refuse(wrong)


def _refuse(wrong: Sequence[str]) -> None:
    if wrong:
        raise DataError(f"The tensors do not fit ({first_of(wrong)}): fit again, or use the version that wrote them.")


def load_tensors(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    names: Collection[str] | None = None,
    *,
    optional: Collection[str] = (),
    types: bool = False,
) -> None:
    """Load tensors by name; see ``check_tensors``. Modified in place; what is not named stays.

    Raises:
        DataError: a tensor is missing, unknown, or of another shape or type.
    """
    check_tensors(module, tensors, names, optional=optional, types=types)
    module.load_state_dict(dict(tensors), strict=False)
