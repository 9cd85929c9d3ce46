"""What belongs to a released file and lies in files beside it: arrays, a probe, words."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diptych.backbones.released import Released
from diptych.backbones.weights import read_state, taken_out
from diptych.core import DataError, UsageError
from diptych.core.wording import first_of


def tensor_beside(one: Released, file: Path, other: str) -> Tensor:
    """Return the tensor of a file in the folder of the weights.

    Args:
        one: the row of the table.
        file: the weights.
        other: name of a .npy file; or, with a "*", of a torch file that holds one tensor alone.

    Raises:
        UsageError: it is not there, or several are.
        DataError: it is damaged, or holds other tensors.
    """
    paths = sorted(file.parent.glob(other)) if "*" in other else [file.parent / other]
    paths = [path for path in paths if path.is_file() and path.with_name(taken_out(path.name)) not in paths]
    if not paths:
        source = "of the authors" if "*" in other else "of the authors' repository"
        raise UsageError(f"{one.name} needs {other} {source} beside {file.name}: there is no {file.parent / other}.")
    if len(paths) > 1:
        raise UsageError(
            f"{file.parent} has several files {other}, {first_of(p.name for p in paths)}: leave one beside {file.name}."
        )
    (path,) = paths
    if "*" in other:
        tensors = read_state(path, allow_pickle=None, opens="model")
        if len(tensors) != 1:
            raise DataError(
                f"{path} holds {len(tensors)} tensors ({first_of(tensors)}), and {one.name} needs exactly one."
            )
        return next(iter(tensors.values())).float()
    try:  # mapped, so that no more is read than the file holds
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return torch.from_numpy(np.array(array, dtype=np.float32))
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise DataError(f"{path} is not a readable array of numbers: download it again.") from error


def words_beside(one: Released, file: Path) -> dict[str, tuple[str, ...]]:
    """Return the settings that files of words in the folder of the weights give, each word once.

    Raises:
        DataError: a line of such a file is not "number,word".
    """
    settings: dict[str, tuple[str, ...]] = {}
    for name, other in one.words.items():
        path = file.parent / other
        if not path.is_file():
            continue
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                rows = [row for row in csv.reader(lines) if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} is not a file of words: download it again.") from error
        for n, row in enumerate(rows):
            if len(row) != 2 or not row[0].strip().isdigit() or not row[1].strip():
                raise DataError(f"{path} has {','.join(row)[:60]!r} in line {n + 1}: a line must be number,word.")
        settings[name] = tuple(dict.fromkeys(row[1].strip() for row in rows))
    return settings
