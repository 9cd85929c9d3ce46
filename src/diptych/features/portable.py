"""Fitted objects as folders: tensors in safetensors, the rest in JSON, the backbone by fingerprint. Never pickle.

A fitted object is a frozen dataclass whose fields are tensors, arrays, plain JSON values, ``ClassNames`` or other
frozen dataclasses of such; spaces that were fitted, which are written by their parts; and backbones, mask proposers,
promptable masks, released inverters and pipelines, which are not written but named: whoever loads brings the same one.

``features.packing`` turns them into JSON and named tensors, ``features.saved_classes`` names their classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych.backbones.diffusion.pipelines import Pipeline
from diptych.backbones.generators.pyramid import PyramidInverter
from diptych.core import Around, DataError, Kit, MaskProposer, PromptableMasks, Space, UsageError
from diptych.core.wording import first_of
from diptych.data.files import drafted
from diptych.features.packing import DENOISER, Packed, named_tensors, pack, unpack
from diptych.features.saved_classes import is_frozen

SCHEMA = 1
DESCRIPTION, _TENSORS = "fitted.json", "tensors.safetensors"
"""Names of the two files of a folder."""
LARGEST = 64 * 2**20
"""Bytes of a description that ``load`` is willing to read."""


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
    packed = pack(fitted)
    if not is_frozen(type(fitted)):
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
    _write(pack(fitted), folder, about)


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
        fitted = unpack(facts["fitted"], tensors, spaces, folder)
        unknown = sorted(tensors.keys() - set(named_tensors(facts["fitted"])))
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
    return next((name.removeprefix(DENOISER) for name in names if name.startswith(f"{DENOISER}local:")), None)


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
    named = set(named_tensors(facts["fitted"]))
    if missing := sorted(named - held.keys()):
        raise DataError(f"{path} lacks tensors of the fitted object: {first_of(missing)}; fit again and save anew.")
    # in torch's own memory, whose alignment a product's last bits may depend on
    return {name: t.clone() for name, t in tensors.items()}


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
    if str(name).startswith(DENOISER):
        pipeline = str(name).removeprefix(DENOISER)
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
