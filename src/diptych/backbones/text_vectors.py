"""Vectors of texts that a language model has read: in memory while they are few, the others in a file."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

MOST = 256 * 2**20
"""Bytes of vectors in memory; six million captions of a language model of 4,096 channels have 98 GB."""


class TextVectors:
    """Finds the vectors of texts. The file lies in the temporary folder and goes with the object.

    A forked or spawned worker reads the file. What it adds stays in its memory, since it cannot tell the others.

    Args:
        width: C.
        most: bytes of vectors in memory.

    Example:
        >>> vectors = TextVectors(2)
        >>> vectors.add(["a cat", "a dog"], torch.eye(2))
        >>> vectors.take(["a dog", "a dog"]).tolist()
        [[0.0, 1.0], [0.0, 1.0]]
    """

    def __init__(self, width: int, most: int = MOST) -> None:
        self._width, self._room, self._process = width, most // (4 * width), os.getpid()
        self._in_memory: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}  # of the file
        self._file: Path | None = None

    def __contains__(self, text: object) -> bool:
        return text in self._in_memory or text in self._rows

    def __len__(self) -> int:
        return len(self._in_memory) + len(self._rows)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # a text has one vector, in the copy of a space too

    def add(self, texts: Sequence[str], vectors: Tensor) -> None:
        """Add (n, C) vectors of n texts that are not there yet, each once.

        Raises:
            OSError: the temporary folder cannot be written, or is full.
        """
        room = len(texts) if os.getpid() != self._process else max(0, self._room - len(self._in_memory))
        self._in_memory |= zip(texts[:room], vectors[:room].float().cpu().clone(), strict=True)
        if not (rest := texts[room:]):
            return
        if self._file is None:
            folder = Path(tempfile.mkdtemp(prefix="diptych-texts-"))
            weakref.finalize(self, _remove, folder, self._process)
            self._file = folder / "vectors"
            self._file.touch()
        first = len(self._rows)
        with open(self._file, "r+b") as file:
            file.seek(4 * self._width * first)
            file.write(vectors[room:].float().cpu().numpy().astype("<f4").tobytes())
        self._rows |= zip(rest, range(first, first + len(rest)), strict=True)

    def take(self, texts: Sequence[str]) -> Tensor:
        """Return the (n, C) float32 vectors of n texts.

        Raises:
            KeyError: a text is not there.
        """
        out = torch.empty(len(texts), self._width)
        stored = [i for i, text in enumerate(texts) if text in self._rows]
        if stored:
            assert self._file is not None  # it has the rows
            rows = np.memmap(self._file, "<f4", "r", shape=(len(self._rows), self._width))
            out[stored] = torch.from_numpy(rows[[self._rows[texts[i]] for i in stored]])
        for i in set(range(len(texts))).difference(stored):
            out[i] = self._in_memory[texts[i]]
        return out


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
