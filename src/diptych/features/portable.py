"""Fitted objects as folders: tensors in safetensors, the rest in JSON, the backbone by fingerprint. Never pickle.

A fitted object is a frozen dataclass whose fields are tensors, arrays, plain JSON values, ``ClassNames`` or other
frozen dataclasses of such; spaces that were fitted, which are written by their parts; and backbones, mask proposers,
promptable masks, released inverters and pipelines, which are not written but named: whoever loads brings the same one.

A class is written by a short name that outlives a move of its module: "gda:FittedGDA" is the class FittedGDA of the
file of the system "gda", ours or an outsider's, and "ClassNames" stands in ``SHARED``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych.backbones.diffusion.pipelines import Pipeline
from diptych.backbones.generators.pyramid import PyramidInverter
from diptych.core import Around, DataError, Kit, MaskProposer, Parts, PromptableMasks, Space, UsageError, plugins
from diptych.core.wording import first_of
from diptych.data.files import drafted

SCHEMA = 1
DESCRIPTION, _TENSORS = "fitted.json", "tensors.safetensors"
"""Names of the two files of a folder."""
_PARTS = tuple(f.name for f in dataclasses.fields(Parts))
LARGEST = 64 * 2**20
"""Bytes of a description that ``load`` is willing to read."""
_DENOISER = "the denoiser "
"""Before the name of a pipeline, where a description names one."""
_NAME = re.compile(r"(?:([^:]+):)?([A-Za-z_]\w*)", re.ASCII)  # slug of a system, class
_METHODS = Path(__file__).parents[1] / "methods"

SHARED: Mapping[str, str] = MappingProxyType(
    {
        "AdaptedClouds": "diptych.nn.spaces.view_adapters",
        "Anomaly": "diptych.core.method",
        "Calibrated": "diptych.tasks.model",
        "Calibration": "diptych.tasks.calibrate",
        "ClipSpace": "diptych.features.clips",
        "CloudSpace": "diptych.features.depth_views",
        "ConvInverter": "diptych.backbones.generators.load",
        "ClassNames": "diptych.core.data",
        "ClassWords": "diptych.nn.dense.mask_training",
        "FactorGenerator": "diptych.backbones.generators.factors",
        "DenoiserLayout": "diptych.backbones.diffusion.patch_denoiser",
        "SmallDiffusion": "diptych.backbones.diffusion.small",
        "FittedCache": "diptych.nn.cache_model",
        "FusedStars": "diptych.nn.spaces.fused_stars",
        "HeadedSpace": "diptych.nn.spaces.headed_space",
        "ILASpace": "diptych.nn.spaces.aligned_clips",
        "PromptedClips": "diptych.nn.prompts.prompted_clips",
        "SparseAutoencoder": "diptych.nn.sparse_autoencoder",
        "Panoptic": "diptych.nn.dense.segments",
        "Segment": "diptych.nn.dense.segments",
        "Segmented": "diptych.tasks.label_maps.segmented",
        "SpaceClassifier": "diptych.tasks.space_classifier",
        "StarSpace": "diptych.nn.spaces.star_space",
        "StoredSpace": "diptych.features.spaces",
        "StyleGAN2": "diptych.backbones.generators.stylegan2",
        "MaskLayout": "diptych.nn.dense.mask_queries",
        "Text": "diptych.core.data",
        "TextReading": "diptych.core.diffusion",
        "ThreeMapInverter": "diptych.backbones.generators.maps",
        "TunedStars": "diptych.nn.spaces.star_space",
        "Ready": "diptych.tasks.detect",
        "Refinement": "diptych.nn.dense.prompted",
        "Windows": "diptych.nn.dense.label_maps",
    }
)
"""Classes that fitted objects hold and that are in no system's file -> their modules. A name stays for good; a module
may move.
"""
RETIRED: Mapping[str, str] = MappingProxyType(
    {
        "ClipClassifier": "run 'diptych extend' with ila on its clips again",
        "CloudClassifier": "run 'diptych extend' on its point clouds again",
        "StarClassifier": "run 'diptych extend' on its light curves again",
    }
)
"""Classes of earlier versions, which are no longer read -> how to write what they held anew."""
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


def save(fitted: Any, folder: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a fitted object, a frozen dataclass as above, to a new folder, whole or not at all; its parent is made.

    Args:
        fitted: the object.
        folder: new.
        about: JSON data that the description holds beside the object, see ``features.artefacts``.

    Raises:
        UsageError: the folder exists, or a field holds something that cannot be written.
    """
    folder = Path(folder)
    packed = _packed(fitted)
    if not _is_frozen(type(fitted)):
        raise UsageError(f"{type(fitted).__name__} is no frozen dataclass: only fitted objects can be saved.")
    if folder.exists():
        raise UsageError(f"{folder} exists: name another folder, or remove it first.")
    with drafted(folder) as draft:
        draft.mkdir()
        _write(packed, draft, about)


def write(fitted: Any, folder: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a fitted object into a folder that is there, which ``save`` does whole or not at all; ``about`` as there.

    Raises:
        UsageError: a field holds something that cannot be written.
    """
    _write(_packed(fitted), folder, about)


Packed = tuple[Any, dict[str, Tensor], dict[str, Any]]
"""The description of an object, its tensors by name, and the spaces that it only names."""


def _packed(fitted: Any) -> Packed:
    tensors: dict[str, Tensor] = {}
    spaces: dict[str, Any] = {}
    return _pack(fitted, type(fitted).__name__, tensors, spaces), tensors, spaces


def packed_plain(value: Any, where: str) -> Any:
    """Return JSON for a value without tensors and spaces, such as a system with its settings; ``where`` names it.

    Raises:
        UsageError: it holds something else.
    """
    tensors: dict[str, Tensor] = {}
    spaces: dict[str, Any] = {}
    packed = _pack(value, where, tensors, spaces)
    if more := [*tensors, *spaces]:
        raise UsageError(f"{more[0]} is no plain value, which alone can be saved as a setting.")
    return packed


def plain(packed: Any, folder: Path) -> Any:
    """Return the value of ``packed_plain``, read from the description of a folder.

    Raises:
        DataError: it names no class that is known here, or other fields than that has.
        KeyError, TypeError, AttributeError, ValueError: it is no such JSON.
    """
    return _unpack(packed, {}, {}, folder)


def to_arrays(value: Any) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return JSON for a value, such as a list of frozen dataclasses, and the arrays and tensors that it names.

    Raises:
        UsageError: it holds something that cannot be written, or only named.
    """
    content, tensors, spaces = _packed(value)
    if spaces:
        raise UsageError(f"{first_of(list(spaces))} is named alone, and not written.")
    return content, {name: tensor.numpy() for name, tensor in tensors.items()}


def of_arrays(content: Any, arrays: Mapping[str, NDArray[Any]], path: Path) -> Any:
    """Return the value of ``to_arrays``, read from a file that errors name; raises as ``plain``."""
    return _unpack(content, {name: torch.from_numpy(array) for name, array in arrays.items()}, {}, path)


def _write(packed: Packed, folder: Path, about: Mapping[str, Any] | None = None) -> None:
    content, tensors, spaces = packed
    save_file(tensors, folder / _TENSORS)
    facts = {
        "schema": SCHEMA,
        **({} if about is None else {"about": about}),
        "tensors": {name: {"shape": list(t.shape), "dtype": str(t.dtype)} for name, t in tensors.items()},
        "sha256": hashlib.sha256((folder / _TENSORS).read_bytes()).hexdigest(),
        "spaces": spaces,
        "fitted": content,
    }
    (folder / DESCRIPTION).write_text(json.dumps(facts, indent=1, allow_nan=False), encoding="utf-8")


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
    facts = _read(folder / DESCRIPTION)
    if facts.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder} has schema {facts.get('schema')}, and this version reads {SCHEMA}: fit again, or use the "
            f"version that wrote it."
        )
    try:
        spaces = {name: _matching(kit, stated, folder) for name, stated in facts["spaces"].items()}
        tensors = _read_tensors(folder, facts)
        fitted = _unpack(facts["fitted"], tensors, spaces, folder)
        unknown = sorted(tensors.keys() - set(_named_tensors(facts["fitted"])))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{folder / DESCRIPTION} is not the description of a fitted object: fit again and save anew."
        ) from error
    if unknown:
        raise DataError(f"{folder} holds tensors that nothing reads: {first_of(unknown)}; fit again and save anew.")
    return fitted


def checksum(folder: Path) -> str:
    """Return the SHA-256 of what ``save`` wrote: of the description, which holds that of the tensors.

    Raises:
        DataError: the folder holds no fitted object.
    """
    try:
        return hashlib.sha256((Path(folder) / DESCRIPTION).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{Path(folder) / DESCRIPTION} cannot be read: name a folder that diptych saved.") from error


def denoiser_of(folder: Path) -> str | None:
    """Return the name of the pipeline that a folder's object was fitted on, such as "local:/models/sd"; None: of none.

    Raises:
        DataError: the folder holds no fitted object.
    """
    spaces = _read(Path(folder) / DESCRIPTION).get("spaces")
    specs = [s.get("spec") for s in spaces.values() if isinstance(s, dict)] if isinstance(spaces, dict) else []
    names = [str(spec.get("name")) for spec in specs if isinstance(spec, dict)]
    return next((name.removeprefix(_DENOISER) for name in names if name.startswith(f"{_DENOISER}local:")), None)


def _is_frozen(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) and bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def _is_saved(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field is written: those that a class computes, or marks with ``saved=False``, are not."""
    return field.init and bool(field.metadata.get("saved", True))


def _pack(value: Any, where: str, tensors: dict[str, Tensor], spaces: dict[str, Any]) -> Any:
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
        if not _is_built(kind):
            raise UsageError(f"{kind.__name__} has parts and no of_parts, so it could not be loaded: give it one.")
        parts = {name: _pack(getattr(inner, name), f"{where}.{name}", tensors, spaces) for name in _PARTS}
        return {"built": {"class": _name(kind), "fingerprint": value.fingerprint, "parts": parts}}
    if isinstance(value, Space):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": value.spec.as_dict()}
        return {"space": where}
    if isinstance(value, PyramidInverter):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": {"name": f"the inverter {value.kind}"}}
        return {"space": where}
    if isinstance(value, Pipeline):
        spaces[where] = {"fingerprint": value.fingerprint, "spec": {"name": f"{_DENOISER}local:{value.folder}"}}
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
            if _is_saved(f)
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
        if not _is_frozen(kind):
            raise DataError(f"{folder} describes {packed['class']!r} by fields, which it has not: fit again.")
        if "c" in packed["fields"] and {f.name for f in dataclasses.fields(kind)} >= {"C"}:  # as version 0.1 began
            packed = {**packed, "fields": {"C" if n == "c" else n: v for n, v in packed["fields"].items()}}
        wanted, given = {f.name for f in dataclasses.fields(kind) if _is_saved(f)}, set(packed["fields"])
        if wanted - ADDED.get(kind.__name__, frozenset()) != given - ADDED.get(kind.__name__, frozenset()):
            raise DataError(
                f"{folder}: fields of {kind.__name__} differ: {first_of(sorted(wanted ^ given))}; use the version "
                f"that wrote it."
            )
        fields = {name: _unpack(v, tensors, spaces, folder) for name, v in packed["fields"].items()}
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
            return [_unpack(v, tensors, spaces, folder) for v in held]
        case "tuple":
            return tuple(_unpack(v, tensors, spaces, folder) for v in held)
        case "dict":
            return {name: _unpack(v, tensors, spaces, folder) for name, v in held.items()}
    raise DataError(f"{folder} holds an unknown kind of value, {sort!r}: use the version that wrote it.")


def _build(held: Mapping[str, Any], tensors: Mapping[str, Tensor], spaces: Mapping[str, Any], folder: Path) -> Space:
    """Return a space that was written by its parts.

    Raises:
        DataError: it is another one than was written, its class is no such space, or its tensors do not fit.
    """
    kind = _class(held["class"], folder)
    if not _is_built(kind):
        raise DataError(f"{folder} describes {held['class']!r} as a space, which it is not: fit again and save anew.")
    parts = Parts(**{name: _unpack(held["parts"][name], tensors, spaces, folder) for name in _PARTS})
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


def _is_built(kind: type[Any]) -> bool:
    """Return whether a class is a space that is put together from its parts."""
    return issubclass(kind, Space) and kind.of_parts.__func__ is not Space.of_parts.__func__  # type: ignore[attr-defined]


def _name(kind: type[Any]) -> str:
    """Return the short name of a frozen dataclass, or of a space that has parts.

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
    """Return the frozen dataclass, or the space that has parts, of a short name."""
    if name in RETIRED:
        raise UsageError(f"{folder} was written by an earlier version, and is no longer read: {RETIRED[name]}.")
    match = _NAME.fullmatch(name)
    if match is not None:
        slug, attribute = match.groups()
        module = SHARED.get(attribute) if slug is None else dict(_systems()).get(slug)
        try:
            kind = module and getattr(importlib.import_module(module), attribute, None)
        except ImportError:
            kind = None
        if isinstance(kind, type) and kind.__module__ == module and (_is_frozen(kind) or _is_built(kind)):
            return kind
    raise DataError(
        f"{folder} names the class {name!r}, which is no fitted class of diptych or of an installed method: install "
        f"its package, or fit again and save anew."
    )


def _systems() -> Iterator[tuple[str, str]]:
    """Yield (slug, module) of every system: the slug is the name of its file, or of its package's entry point."""
    ours = {path.stem.replace("_", "-"): path for path in sorted(_METHODS.glob("*/[a-z]*.py"))}
    yield from ((slug, f"diptych.methods.{path.parent.name}.{path.stem}") for slug, path in ours.items())
    for slug, point in plugins.points(ours).items():
        yield slug, point.value.partition(":")[0].strip()


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} is larger than {LARGEST // 2**20} MB, so it is no description of a fitted object.")
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
        raise DataError(
            f"{path} holds other tensors than {DESCRIPTION} states: {first_of(wrong)}; fit again and save anew."
        )
    named = set(_named_tensors(facts["fitted"]))
    if missing := sorted(named - held.keys()):
        raise DataError(f"{path} lacks tensors of the fitted object: {first_of(missing)}; fit again and save anew.")
    # in torch's own memory, whose alignment a product's last bits may depend on
    return {name: t.clone() for name, t in tensors.items()}


def _named_tensors(packed: Any) -> Iterator[str]:
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
        yield from _named_tensors(value)


def _matching(kit: Kit, stated: Mapping[str, Any], folder: Path) -> Any:
    named = (Space, MaskProposer, PromptableMasks, PyramidInverter, Pipeline)
    held = [part for part in kit.parts.values() if isinstance(part, named)]
    held += [part.base for part in held if isinstance(part, Around)]  # a space round a backbone brings it along
    for space in held:
        if space.fingerprint == stated["fingerprint"]:
            return space
    name = stated["spec"]["name"]
    if str(name).startswith("the inverter"):
        raise UsageError(f"{folder} was fitted on {name} ({stated['fingerprint']}): give its file as {{inverter}}.")
    if str(name).startswith(_DENOISER):
        pipeline = str(name).removeprefix(_DENOISER)
        raise UsageError(
            f"{folder} was fitted on the pipeline {pipeline} ({stated['fingerprint']}), and not on the one given: give "
            f"that as {{denoiser}}, or fit again."
        )
    kinds = [(s.spec.name if isinstance(s, Space) else type(s).__name__, s.fingerprint) for s in held]
    names = ", ".join(f"{name} ({print_})" for name, print_ in kinds) or "none"
    raise UsageError(
        f"{folder} was fitted on {name} ({stated['fingerprint']}), "
        f"and the backbone given is {names}: load that one, or fit again."
    )
