"""Checkpoints that survive a kill: whole or absent, tensors in safetensors, all else in JSON, nothing to unpickle."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from diptych.core.errors import DataError
from diptych.data.files import drafted

SCHEMA = 1


def save(
    folder: Path, name: str, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int
) -> Path:
    """Write one checkpoint under ``folder`` in one atomic rename, then remove all but the latest ``keep``.

    Args:
        folder: where the checkpoints of this training lie.
        name: such as "step-00000120-epoch-0002": begins with "step-", later ones sort behind; one that exists is left
            as it is.
        tensors: file stem -> name -> tensor, of any size and type.
        state: what else must be remembered, as JSON.
        keep: number of checkpoints kept.

    Returns:
        The checkpoint's folder.
    """
    target = folder / name
    if target.exists():
        return target
    for stale in folder.glob(".step-*.tmp"):  # of a process that was killed
        shutil.rmtree(stale)
    with drafted(target, durable=True) as draft:
        draft.mkdir()
        for stem, its in tensors.items():
            save_file(_owned(its), draft / f"{stem}.safetensors")
        (draft / "state.json").write_text(json.dumps({"schema": SCHEMA, **state}, indent=1, sort_keys=True))
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def newest(folder: Path) -> Path | None:
    """Return the latest checkpoint under ``folder``; None if there is none."""
    return _steps(folder)[-1] if _steps(folder) else None


def read(checkpoint: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return (tensors, state) as they were saved, tensors on the CPU.

    Raises:
        DataError: a file is damaged, or the checkpoint was written by a later version.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text())
        tensors = {path.stem: load_file(path) for path in sorted(checkpoint.glob("*.safetensors"))}
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


def optimizer_tensors(optimizer: Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """Return an optimiser's state as ``"moment/parameter name"`` -> tensor."""
    return {
        f"{kind}/{names[p]}": torch.as_tensor(v)
        for p, state in optimizer.state.items()
        for kind, v in state.items()
        if v is not None
    }


def load_optimizer(optimizer: Optimizer, names: Mapping[Tensor, str], tensors: Mapping[str, Tensor]) -> None:
    """Give a new optimiser the state that ``optimizer_tensors`` took from an old one, bit by bit."""
    parameters = {name: p for p, name in names.items()}
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        p = parameters[name]
        optimizer.state[p][kind] = value if kind == "step" else value.to(p.device)


class Stop(contextlib.AbstractContextManager["Stop"]):
    """Turns Ctrl-C and SIGTERM into a wish that the loop grants between two steps; the signal then takes its usual
    course.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python refuses handlers
            self._before = {n: signal.signal(n, self._ask) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def wanted(self) -> bool:
        """Return whether a signal came."""
        return self.asked is not None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._restore()  # a second Ctrl-C does not wait

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *exc: object) -> None:
        self._restore()
        if self.asked is not None and exc[0] is None:
            signal.raise_signal(self.asked)


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _owned(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that share no memory, as safetensors wants them: tied weights are written once for each name."""
    seen: set[int] = set()
    owned = {}
    for name, t in named.items():
        flat = t.detach().cpu().contiguous()
        owned[name] = flat.clone() if flat.untyped_storage().data_ptr() in seen else flat
        seen.add(flat.untyped_storage().data_ptr())
    return owned
