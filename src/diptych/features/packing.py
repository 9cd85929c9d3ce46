"""A fitted object as JSON, the tensors that it names, and the spaces that it only names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diptych.backbones.diffusion.pipelines import Pipeline
from diptych.backbones.generators.pyramid import PyramidInverter
from diptych.core import DataError, MaskProposer, Parts, PromptableMasks, Space, UsageError
from diptych.core.wording import first_of
from diptych.features.saved_classes import class_named, is_built, is_frozen, short_name

_PARTS = tuple(f.name for f in dataclasses.fields(Parts))
DENOISER = "the denoiser "
"""Before the name of a pipeline, where a description names one."""
ADDED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ClassNames": frozenset({"words", "things"}),
        "FittedCLIPPINGS": frozenset({"towers"}),
        "FittedNoLA": frozenset({"parts"}),
        "FittedStuffContext": frozenset({"appearance", "looks"}),
        "FittedUFFGTG": frozenset({"reading"}),
        "FittedUserAwarePrefix": frozenset({"heads"}),
    }
)
"""Class -> fields that folders of earlier versions lack; they take their defaults."""
Packed = tuple[Any, dict[str, Tensor], dict[str, Any]]
"""The description of an object, its tensors by name, and the spaces that it only names."""


def pack(fitted: Any) -> Packed:
    """Return what is written of an object; raises UsageError where a field holds something that cannot be."""
    tensors: dict[str, Tensor] = {}
    spaces: dict[str, Any] = {}
    return _pack_value(fitted, type(fitted).__name__, tensors, spaces), tensors, spaces


def packed_plain(value: Any, where: str) -> Any:
    """Return JSON for a value without tensors and spaces, such as a system with its settings; ``where`` names it.

    Raises:
        UsageError: it holds something else.
    """
    tensors: dict[str, Tensor] = {}
    spaces: dict[str, Any] = {}
    packed = _pack_value(value, where, tensors, spaces)
    if more := [*tensors, *spaces]:
        raise UsageError(f"{more[0]} is no plain value, which alone can be saved as a setting.")
    return packed


def plain(packed: Any, folder: Path) -> Any:
    """Return the value of ``packed_plain``, read from the description of a folder.

    Raises:
        DataError: it names no class that is known here, or other fields than that has.
        KeyError, TypeError, AttributeError, ValueError: it is no such JSON.
    """
    return unpack(packed, {}, {}, folder)


def to_arrays(value: Any) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return JSON for a value, such as a list of frozen dataclasses, and the arrays and tensors that it names.

    Raises:
        UsageError: it holds something that cannot be written, or only named.
    """
    content, tensors, spaces = pack(value)
    if spaces:
        raise UsageError(f"{first_of(list(spaces))} is named alone, and not written.")
    return content, {name: tensor.numpy() for name, tensor in tensors.items()}


def of_arrays(content: Any, arrays: Mapping[str, NDArray[Any]], path: Path) -> Any:
    """Return the value of ``to_arrays``, read from a file that errors name; raises as ``plain``."""
    return unpack(content, {name: torch.from_numpy(array) for name, array in arrays.items()}, {}, path)


def _is_saved(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field is written: those that a class computes, or marks with ``saved=False``, are not."""
    return field.init and bool(field.metadata.get("saved", True))


def _pack_value(value: Any, where: str, tensors: dict[str, Tensor], spaces: dict[str, Any]) -> Any:
    """Return JSON for a value; plain JSON values stand for themselves, everything else is an object of one key."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Tensor):
        tensors[where] = value.detach().cpu().contiguous().clone()
        return {"tensor": where}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        tensors[where] = torch.from_numpy(np.ascontiguousarray(value).copy())
        return {"array": where}
    if isinstance(value, Space) and (inner := value.unwrapped.parts()) is not None:
        kind = type(value.unwrapped)
        if not is_built(kind):
            raise UsageError(f"{kind.__name__} has parts and no of_parts, so it could not be loaded: give it one.")
        parts = {name: _pack_value(getattr(inner, name), f"{where}.{name}", tensors, spaces) for name in _PARTS}
        return {"built": {"class": short_name(kind), "fingerprint": value.fingerprint, "parts": parts}}
    if isinstance(value, Space):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": value.spec.as_dict()}
        return {"space": where}
    if isinstance(value, PyramidInverter):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": {"name": f"the inverter {value.kind}"}}
        return {"space": where}
    if isinstance(value, Pipeline):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": {"name": f"{DENOISER}local:{value.folder}"}}
        return {"space": where}
    if isinstance(value, (MaskProposer, PromptableMasks)):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": {"name": type(value).__name__}}
        return {"space": where}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_pack_value(v, f"{where}.{i}", tensors, spaces) for i, v in enumerate(value)]}
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value):
        return {"dict": {k: _pack_value(v, f"{where}.{k}", tensors, spaces) for k, v in value.items()}}
    if is_frozen(type(value)):
        fields = {
            f.name: _pack_value(getattr(value, f.name), f"{where}.{f.name}", tensors, spaces)
            for f in dataclasses.fields(value)
            if _is_saved(f)
        }
        return {"class": short_name(type(value)), "fields": fields}
    raise UsageError(
        f"{where} is a {type(value).__name__}, which cannot be saved: hold tensors, plain values or frozen "
        f"dataclasses of them."
    )


def unpack(packed: Any, tensors: Mapping[str, Tensor], spaces: Mapping[str, Any], folder: Path) -> Any:
    """Return the object of ``pack``, with the tensors and the spaces that it names; errors name the folder.

    Raises:
        UsageError: an earlier version wrote it, and it is no longer read.
        DataError: unknown classes, fields or values, or a space that is another one now.
        KeyError, TypeError, AttributeError, ValueError: it is no such JSON.
    """
    if packed is None or isinstance(packed, (bool, int, float, str)):
        return packed
    if "class" in packed:
        kind = class_named(packed["class"], folder)
        if not is_frozen(kind):
            raise DataError(f"{folder} describes {packed['class']!r} by fields, which it has not: fit again.")
        if "c" in packed["fields"] and {f.name for f in dataclasses.fields(kind)} >= {"C"}:  # as version 0.1 began
            packed = {**packed, "fields": {"C" if n == "c" else n: v for n, v in packed["fields"].items()}}
        wanted, given = {f.name for f in dataclasses.fields(kind) if _is_saved(f)}, set(packed["fields"])
        if wanted - ADDED.get(kind.__name__, frozenset()) != given - ADDED.get(kind.__name__, frozenset()):
            raise DataError(
                f"{folder}: fields of {kind.__name__} differ: {first_of(sorted(wanted ^ given))}; use the version "
                f"that wrote it."
            )
        fields = {name: unpack(v, tensors, spaces, folder) for name, v in packed["fields"].items()}
        try:
            return kind(**fields)
        except DataError as error:
            raise DataError(f"{folder} does not fit: {error}") from error
    ((sort, held),) = packed.items()
    match sort:
        case "float":
            return float(held)
        case "tensor":
            return tensors[held]
        case "array":
            return tensors[held].numpy()
        case "space":
            return spaces[held]
        case "built":
            return _build(held, tensors, spaces, folder)
        case "list":
            return [unpack(v, tensors, spaces, folder) for v in held]
        case "tuple":
            return tuple(unpack(v, tensors, spaces, folder) for v in held)
        case "dict":
            return {name: unpack(v, tensors, spaces, folder) for name, v in held.items()}
    raise DataError(f"{folder} holds an unknown kind of value, {sort!r}: use the version that wrote it.")


def _build(held: Mapping[str, Any], tensors: Mapping[str, Tensor], spaces: Mapping[str, Any], folder: Path) -> Space:
    """Return a space that was written by its parts.

    Raises:
        DataError: it is another one than was written, its class is no such space, or its tensors do not fit.
    """
    kind = class_named(held["class"], folder)
    if not is_built(kind):
        raise DataError(f"{folder} describes {held['class']!r} as a space, which it is not: fit again and save anew.")
    parts = Parts(**{name: unpack(held["parts"][name], tensors, spaces, folder) for name in _PARTS})
    try:
        space: Space = kind.of_parts(parts)
    except DataError as error:
        raise DataError(f"{folder} cannot be read: {error}") from error
    if space.fingerprint != held["fingerprint"]:
        raise DataError(
            f"{folder} gives another space than was saved ({space.fingerprint}, not {held['fingerprint']}): fit again, "
            f"or use the version that wrote it."
        )
    return space


def named_tensors(packed: Any) -> Iterator[str]:
    """Yield the names of the tensors that a description asks for."""
    if not isinstance(packed, dict):
        return
    if "class" in packed:
        values = packed["fields"].values()
    else:
        ((sort, value),) = packed.items()
        if sort in ("tensor", "array"):
            yield value
            return
        values = {"list": value, "tuple": value}.get(sort, ())
        if sort in ("dict", "built"):
            values = (value if sort == "dict" else value["parts"]).values()
    for value in values:
        yield from named_tensors(value)
