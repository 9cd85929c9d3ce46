"""Checkpoints that are whole or absent, even after a kill: tensors in safetensors, all else in JSON."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from diptych.core import DataError
from diptych.data.files import drafted, move

SCHEMA = 1
PARTS = "parts"
"""Folder of a checkpoint with the tensors of several processes, see ``train.sharded``."""


def save(
    folder: Path,
    name: str,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int,
    parts: Path | None = None,
) -> Path:
    """Write one checkpoint under ``folder`` in one atomic rename, then remove all but the latest ``keep``.

    Args:
        folder: of the checkpoints of this training.
        name: begins with "step-", and later names sort after earlier ones, such as "step-00000120-epoch-0002". A
            checkpoint of this name that exists is not changed.
        tensors: file stem -> name -> tensor, of any size and type.
        state: all else, as plain data for JSON.
        keep: number of checkpoints that are not removed.
        parts: folder beside, with tensors that several processes wrote, which is moved into the checkpoint.

    Returns:
        The checkpoint's folder.
    """
    target = folder / name
    if target.exists():
        return target
    for stale in (*folder.glob(".step-*.tmp"), *folder.glob(".parts-*")):  # of a process that was killed
        if stale != parts:
            shutil.rmtree(stale)
    with drafted(target, durable=True) as draft:
        draft.mkdir()
        for stem, its in tensors.items():
            save_file(_owned(its), _path(draft, stem))
        if parts is not None:
            move(parts, draft / PARTS)
        facts = {"schema": SCHEMA, "files": sorted(tensors), **state}
        (draft / "state.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
    for old in _steps(folder)[:-keep]:
        gone = old.with_name(f".{old.name}.tmp")  # a kill leaves no half of it by its name
        move(old, gone)
        shutil.rmtree(gone)
    return target


def newest(folder: Path) -> Path | None:
    """Return the latest checkpoint under ``folder``; None if there is none."""
    return _steps(folder)[-1] if _steps(folder) else None


def read(
    checkpoint: Path, parameters: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return (tensors, state) as they were saved, tensors on the CPU.

    Args:
        checkpoint: folder.
        parameters: name -> parameter of a training; what several processes wrote is divided as these are.

    Raises:
        DataError: a file is damaged, or the checkpoint is from another version.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text())
        names = state.get("files")  # earlier versions did not list them
        paths = sorted(checkpoint.glob("*.safetensors")) if names is None else [_path(checkpoint, n) for n in names]
        tensors = {path.stem: load_file(path) for path in paths}
        if (checkpoint / PARTS).is_dir():
            from diptych.train.sharded import read as read_parts

            tensors = read_parts(checkpoint / PARTS, parameters or {})
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            f"The checkpoint {checkpoint} is damaged ({error}): remove that folder to go on from the one before it."
        ) from None
    if state.get("schema") != SCHEMA:
        raise DataError(
            f"The checkpoint {checkpoint} has schema {state.get('schema')}, and this version reads {SCHEMA}: update "
            f"diptych."
        )
    return tensors, state


def sums(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the sum of the absolute values of each tensor, by which frozen weights are recognised."""
    return {
        name: float(t.detach().abs().sum(dtype=torch.float64 if t.device.type == "cpu" else None))
        for name, t in tensors.items()
    }


def unchanged(tensors: Mapping[str, Tensor], before: Mapping[str, float], rounding: float = 0.0) -> dict[str, float]:
    """Return the part of some ``sums`` whose tensors still have them.

    Args:
        tensors: name -> tensor.
        before: name -> sum.
        rounding: relative difference that is none, such as that of another machine.
    """
    known = {name: tensors[name] for name in before if name in tensors}
    return {
        name: before[name] for name, now in sums(known).items() if math.isclose(now, before[name], rel_tol=rounding)
    }


def optimizer_tensors(optimizer: Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """Return an optimiser's state, as "name of the moment/name of the parameter" -> tensor."""
    return {
        f"{kind}/{names[p]}": torch.as_tensor(v)
        for p, state in optimizer.state.items()
        for kind, v in state.items()
        if v is not None
    }


def load_optimizer(optimizer: Optimizer, names: Mapping[Tensor, str], tensors: Mapping[str, Tensor]) -> None:
    """Load a state of ``optimizer_tensors`` into a new optimiser, with the same bits. Modified in place."""
    parameters = {name: p for p, name in names.items()}
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        p = parameters[name]
        optimizer.state[p][kind] = value if kind == "step" else value.to(p.device)


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _path(checkpoint: Path, stem: str) -> Path:
    return checkpoint / f"{stem}.safetensors"


def _owned(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that share no memory, as safetensors needs: tied weights are written once for each name."""
    seen: set[int] = set()
    owned = {}
    for name, t in named.items():
        flat = t.detach().cpu().contiguous()
        owned[name] = flat.clone() if flat.untyped_storage().data_ptr() in seen else flat
        seen.add(flat.untyped_storage().data_ptr())
    return owned
