"""Fitted objects as folders: tensors in safetensors, the rest in JSON, the backbone by fingerprint. Never pickle.

A fitted object is a frozen dataclass whose fields are tensors, plain JSON values, ``ClassNames`` or other frozen
dataclasses of such, and spaces (the backbone), mask proposers and promptable masks, which are not written but named:
whoever loads brings the same one.

A class is written by a short name that outlives a move of its module: "gda:FittedGDA" is the class FittedGDA of the
file of the system "gda", ours or an outsider's, and "ClassNames" stands in ``SHARED``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.metadata
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych.core import DataError, Kit, MaskProposer, PromptableMasks, Space, UsageError
from diptych.data.files import drafted

SCHEMA = 1
_JSON, _TENSORS = "fitted.json", "tensors.safetensors"
_LARGEST = 64 * 2**20  # bytes of JSON that load is willing to read
_NAME = re.compile(r"(?:([^:]+):)?([A-Za-z_]\w*)", re.ASCII)  # slug of a system, class
_METHODS = Path(__file__).parents[1] / "methods"

SHARED: Mapping[str, str] = MappingProxyType(
    {
        "Calibrated": "diptych.tasks.model",
        "Calibration": "diptych.tasks.calibrate",
        "ClipClassifier": "diptych.tasks.clip_model",
        "CloudClassifier": "diptych.tasks.clouds",
        "ConvInverter": "diptych.backbones.generators.inverter",
        "ClassNames": "diptych.core.data",
        "ClassWords": "diptych.nn.dense.mask_training",
        "FactorGenerator": "diptych.backbones.generators.factors",
        "DenoiserLayout": "diptych.backbones.diffusion.patch_denoiser",
        "SmallDiffusion": "diptych.backbones.diffusion.small",
        "FittedCache": "diptych.nn.cache_model",
        "SparseAutoencoder": "diptych.nn.sparse_autoencoder",
        "StarClassifier": "diptych.tasks.stars",
        "StyleGAN2": "diptych.backbones.generators.stylegan2",
        "MaskLayout": "diptych.nn.dense.mask_queries",
        "ThreeMapInverter": "diptych.backbones.generators.maps",
        "Refinement": "diptych.nn.dense.prompted",
        "Windows": "diptych.nn.dense.label_maps",
    }
)
"""Classes that fitted objects hold and that are in no system's file -> their modules. A name stays for good; a module
may move.
"""
ADDED: Mapping[str, frozenset[str]] = MappingProxyType({"ClassNames": frozenset({"words", "things"})})
"""Class -> fields that folders of earlier versions lack; they take their defaults."""


def save(fitted: Any, folder: Path) -> None:
    """Write a fitted object, a frozen dataclass as above, to a new folder, whole or not at all; its parent is made.

    Raises:
        UsageError: the folder exists, or a field holds something that cannot be written.
    """
    folder = Path(folder)
    tensors: dict[str, Tensor] = {}
    spaces: dict[str, Any] = {}
    content = _pack(fitted, type(fitted).__name__, tensors, spaces)
    if not _is_frozen(type(fitted)):
        raise UsageError(f"{type(fitted).__name__} is no frozen dataclass: only fitted objects can be saved.")
    if folder.exists():
        raise UsageError(f"{folder} exists: name another folder, or remove it first.")
    with drafted(folder) as draft:
        draft.mkdir()
        save_file(tensors, draft / _TENSORS)
        facts = {
            "schema": SCHEMA,
            "tensors": {name: {"shape": list(t.shape), "dtype": str(t.dtype)} for name, t in tensors.items()},
            "sha256": hashlib.sha256((draft / _TENSORS).read_bytes()).hexdigest(),
            "spaces": spaces,
            "fitted": content,
        }
        (draft / _JSON).write_text(json.dumps(facts, indent=1, allow_nan=False), encoding="utf-8")


def kept(folder: Path | None, kit: Kit, method: object, fit: Callable[[], Any], what: str) -> Any:
    """Return what a system fits, read from a folder where it is there, and else written to it; None keeps nothing.

    Raises:
        UsageError: the folder holds no ``what`` that was fitted by this method with these settings.
        DataError: the folder holds nothing fitted.
    """
    if folder is None or not folder.exists():
        fitted = fit()
        if folder is not None:
            save(fitted, folder)
        return fitted
    known = load(folder, kit)
    if getattr(known, "method", None) != method:
        raise UsageError(
            f"{folder} holds no {what} fitted as asked: give the same {{method}}, {{variant}} and {{settings}}, or "
            f"another {{fitted}}."
        )
    return known


def load(folder: Path, kit: Kit) -> Any:
    """Read a fitted object back.

    Args:
        folder: that ``save`` wrote; it is treated as untrusted.
        kit: holds the spaces on which the object was fitted, under any name.

    Returns:
        An object equal to the one saved; tensors on the CPU.

    Raises:
        UsageError: the kit holds no space of the fingerprint, or the folder holds another schema.
        DataError: the folder does not hold what it says: missing files, changed tensors, unknown fields or classes.
    """
    folder = Path(folder)
    facts = _read(folder / _JSON)
    if facts.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder} has schema {facts.get('schema')}, and this version reads {SCHEMA}: fit again, or use the "
            f"version that wrote it."
        )
    try:
        spaces = {name: _matching(kit, stated, folder) for name, stated in facts["spaces"].items()}
        return _unpack(facts["fitted"], _read_tensors(folder, facts), spaces, folder)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{folder / _JSON} is not the description of a fitted object: fit again and save anew."
        ) from error


def checksum(folder: Path) -> str:
    """Return the SHA-256 of what ``save`` wrote: of the description, which holds that of the tensors.

    Raises:
        DataError: the folder holds no fitted object.
    """
    try:
        return hashlib.sha256((Path(folder) / _JSON).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{Path(folder) / _JSON} cannot be read: name a folder that diptych saved.") from error


def _is_frozen(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) and bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def _pack(value: Any, where: str, tensors: dict[str, Tensor], spaces: dict[str, Any]) -> Any:
    """Return JSON for a value; plain JSON values stand for themselves, everything else is an object of one key."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Tensor):
        tensors[where] = value.detach().cpu().contiguous().clone()
        return {"tensor": where}
    if isinstance(value, Space):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": value.spec.as_dict()}
        return {"space": where}
    if isinstance(value, (MaskProposer, PromptableMasks)):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": {"name": type(value).__name__}}
        return {"space": where}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_pack(v, f"{where}.{i}", tensors, spaces) for i, v in enumerate(value)]}
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value):
        return {"dict": {k: _pack(v, f"{where}.{k}", tensors, spaces) for k, v in value.items()}}
    if _is_frozen(type(value)):
        fields = {
            f.name: _pack(getattr(value, f.name), f"{where}.{f.name}", tensors, spaces)
            for f in dataclasses.fields(value)
            if f.init
        }
        return {"class": _name(type(value)), "fields": fields}
    raise UsageError(
        f"{where} is a {type(value).__name__}, which cannot be saved: hold tensors, plain values or frozen "
        f"dataclasses of them."
    )


def _unpack(packed: Any, tensors: Mapping[str, Tensor], spaces: Mapping[str, Any], folder: Path) -> Any:
    if packed is None or isinstance(packed, (bool, int, float, str)):
        return packed
    if "class" in packed:
        kind = _class(packed["class"], folder)
        wanted, given = {f.name for f in dataclasses.fields(kind) if f.init}, set(packed["fields"])
        if wanted - ADDED.get(kind.__name__, frozenset()) != given - ADDED.get(kind.__name__, frozenset()):
            raise DataError(
                f"{folder}: fields of {kind.__name__} differ: {', '.join(sorted(wanted ^ given))}; use the version "
                f"that wrote it."
            )
        return kind(**{name: _unpack(v, tensors, spaces, folder) for name, v in packed["fields"].items()})
    ((sort, held),) = packed.items()
    match sort:
        case "float":
            return float(held)
        case "tensor":
            return tensors[held]
        case "space":
            return spaces[held]
        case "list":
            return [_unpack(v, tensors, spaces, folder) for v in held]
        case "tuple":
            return tuple(_unpack(v, tensors, spaces, folder) for v in held)
        case "dict":
            return {name: _unpack(v, tensors, spaces, folder) for name, v in held.items()}
    raise DataError(f"{folder} holds an unknown kind of value, {sort!r}: use the version that wrote it.")


def _name(kind: type[Any]) -> str:
    """Return the short name of a frozen dataclass.

    Raises:
        UsageError: it has none.
    """
    if SHARED.get(kind.__qualname__) == kind.__module__:
        return kind.__qualname__
    for slug, module in _systems():
        if module == kind.__module__:
            return f"{slug}:{kind.__qualname__}"
    raise UsageError(
        f"{kind.__qualname__} of {kind.__module__} cannot be saved: it is in no system's file and "
        f"not in portable.SHARED."
    )


def _class(name: str, folder: Path) -> type[Any]:
    """Return the frozen dataclass of a short name."""
    match = _NAME.fullmatch(name)
    if match is not None:
        slug, attribute = match.groups()
        module = SHARED.get(attribute) if slug is None else dict(_systems()).get(slug)
        try:
            kind = module and getattr(importlib.import_module(module), attribute, None)
        except ImportError:
            kind = None
        if isinstance(kind, type) and kind.__module__ == module and _is_frozen(kind):
            return kind
    raise DataError(
        f"{folder} names the class {name!r}, which is no fitted class of diptych or of an installed method: install "
        f"its package, or fit again and save anew."
    )


def _systems() -> Iterator[tuple[str, str]]:
    """Yield (slug, module) of every system: the slug is the name of its file, or of its package's entry point."""
    for path in sorted(_METHODS.glob("*/[a-z]*.py")):
        yield path.stem.replace("_", "-"), f"diptych.methods.{path.parent.name}.{path.stem}"
    for point in importlib.metadata.entry_points(group="diptych.methods"):
        yield point.name, point.module


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(
                f"{path} is larger than {_LARGEST // 2**20} MB, so it is no description of a fitted object."
            )
        facts = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: name a folder that diptych saved.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: fit again and save anew.") from error
    if not isinstance(facts, dict):
        raise DataError(f"{path} is not the description of a fitted object: fit again and save anew.")
    return facts


def _read_tensors(folder: Path, facts: Mapping[str, Any]) -> dict[str, Tensor]:
    path = folder / _TENSORS
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        tensors: dict[str, Tensor] | None = load_file(path) if digest == facts["sha256"] else None
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read: fit again and save anew.") from error
    if tensors is None:
        raise DataError(f"{path} is not the file that was saved (its checksum differs): fit again and save anew.")
    held = {name: {"shape": list(t.shape), "dtype": str(t.dtype)} for name, t in tensors.items()}
    if held != facts["tensors"]:
        wrong = sorted(n for n in held.keys() | facts["tensors"].keys() if held.get(n) != facts["tensors"].get(n))
        raise DataError(f"{path} holds other tensors than {_JSON} states: {', '.join(wrong)}; fit again and save anew.")
    # in torch's own memory, whose alignment a product's last bits may depend on
    return {name: t.clone() for name, t in tensors.items()}


def _matching(kit: Kit, stated: Mapping[str, Any], folder: Path) -> Any:
    held = [part for part in kit.parts.values() if isinstance(part, (Space, MaskProposer, PromptableMasks))]
    for space in held:
        if space.fingerprint == stated["fingerprint"]:
            return space
    kinds = [(s.spec.name if isinstance(s, Space) else type(s).__name__, s.fingerprint) for s in held]
    names = ", ".join(f"{name} ({print_})" for name, print_ in kinds) or "none"
    raise UsageError(
        f"{folder} was fitted on {stated['spec']['name']} ({stated['fingerprint']}), "
        f"and the backbone given is {names}: load that one, or fit again."
    )
