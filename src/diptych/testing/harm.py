"""Folders of fitted systems, harmed: a tensor is left out, renamed or turned, or another backbone is named."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych.features.portable import DESCRIPTION
from diptych.features.saved_classes import SHARED

Harm = Callable[[Path], None]
_TENSORS = "tensors.safetensors"


def harms(folder: Path) -> dict[str, Harm]:
    """Return what can go wrong with the files of a folder, by name; whoever reads it must refuse each.

    Args:
        folder: that holds a fitted system.
    """
    facts, tensors = _read(folder)
    by_name: dict[str, Harm] = {}
    if tensors:
        name = max(sorted(tensors), key=lambda n: tensors[n].numel())
        by_name["a tensor is left out"] = lambda path: _write(path, lambda f, t: t.pop(name))
        by_name["a tensor has another name"] = lambda path: _write(path, lambda f, t: t.update(odd=t.pop(name)))
        by_name["a tensor has another shape"] = lambda path: _write(path, lambda f, t: t.update({name: t[name][None]}))
    if state := next(_states(facts["fitted"]), None):
        key = min(state)
        by_name["weights have another name"] = lambda path: _rekey(path, key)
        by_name["weights are missing"] = lambda path: _rekey(path, key, drop=True)
    if facts["spaces"]:
        by_name["it is of another backbone"] = _otherwise
    return by_name


def weight_harms(folder: Path) -> dict[str, Harm]:
    """Return what can go wrong with the largest weight file of a folder, by name; whoever reads it must refuse each.

    Args:
        folder: of a space that was trained, see ``backbones.sources.save``.
    """
    file = max(sorted(folder.rglob("*.safetensors")), key=lambda path: path.stat().st_size).relative_to(folder)
    tensors = load_file(folder / file)
    name = max(sorted(tensors), key=lambda n: tensors[n].numel())

    def change(path: Path, spoil: Callable[[dict[str, Tensor]], object]) -> None:
        spoil(spoiled := load_file(path / file))
        save_file(spoiled, path / file)

    return {
        "a tensor is left out": lambda path: change(path, lambda t: t.pop(name)),
        "a tensor has another name": lambda path: change(path, lambda t: t.update(odd=t.pop(name))),
        "a tensor has another shape": lambda path: change(path, lambda t: t.update({name: t[name][None]})),
        "the file is cut": lambda path: os.truncate(path / file, (path / file).stat().st_size // 2),
    }


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")), load_file(folder / _TENSORS)


def _write(folder: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> None:
    """Change description and tensors, and mend the checksum."""
    facts, tensors = _read(folder)
    change(facts, tensors)
    save_file(tensors, folder / _TENSORS)
    facts["sha256"] = hashlib.sha256((folder / _TENSORS).read_bytes()).hexdigest()
    (folder / DESCRIPTION).write_text(json.dumps(facts), encoding="utf-8")


def _states(packed: Any) -> Iterator[dict[str, Any]]:
    """Yield the weights by name that a description holds: mappings of nothing but tensors.

    Those of generators, inverters and denoisers are left out: systems get them as parts, and do not read their weights.
    """
    if isinstance(packed, dict):
        if SHARED.get(str(packed.get("class")), "").startswith("diptych.backbones."):
            return
        inner = packed.get("dict")
        if inner and isinstance(inner, dict) and all(isinstance(v, dict) and "tensor" in v for v in inner.values()):
            yield inner
        else:
            for value in packed.values():
                yield from _states(value)
    elif isinstance(packed, list):
        for value in packed:
            yield from _states(value)


def _rekey(folder: Path, key: str, *, drop: bool = False) -> None:
    """Give weights another name, or leave them out, in a folder that is whole in itself."""

    def change(facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        state = next(_states(facts["fitted"]))
        entry = state.pop(key)
        if drop:
            tensors.pop(entry["tensor"])
            del facts["tensors"][entry["tensor"]]
        else:
            state["odd"] = entry

    _write(folder, change)


def _otherwise(folder: Path) -> None:
    def change(facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        for space in facts["spaces"].values():
            space["fingerprint"] = "0" * 16

    _write(folder, change)
