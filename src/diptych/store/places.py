"""Where the vectors of a block of a pool lie: read in the order in which they lie, and never by key.

    folder/<space>/pools/<hash of the source>.json    the array files and rows that answer a block, with a checksum,
                                                      or a number of each pair that was computed of its vectors

A source says which rows of which file the block is and in which state the file was. What is written here is a shortcut:
where it is absent, damaged, or names an array that was merged since, vectors are looked up by key.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diptych.data.files import write_whole
from diptych.store.arrays import Arrays
from diptych.store.sealed import BrokenFileError, seal, unseal
from diptych.store.shards import Block

Rows = slice | NDArray[np.int64]
_UNUSABLE = (OSError, BrokenFileError, KeyError, TypeError, ValueError, IndexError)


class Part(NamedTuple):
    """The rows of one stored batch that answer some pairs of a block.

    Args:
        block: the batch.
        here: numbers of the pairs.
        there: rows of the batch.
    """

    block: Block
    here: Rows
    there: Rows


class Placed(NamedTuple):
    """The vectors of a block.

    Args:
        values: (N, D).
        distinct: number of different pictures or texts among them.
    """

    values: NDArray[np.float32]
    distinct: int


class Numbers(NamedTuple):
    """Numbers that were computed of the vectors of the pairs of a block.

    Args:
        values: (N,) float32.
        vectors: number of vectors that they were computed of.
    """

    values: NDArray[np.float32]
    vectors: int


def write_places(folder: Path, source: str, parts: Iterable[Part], count: int, distinct: int) -> None:
    """Write where the vectors of N pairs lie."""
    content = {
        "source": source, "count": count, "distinct": distinct,
        "parts": [
            [b.array, b.start, len(b.keys), b.digest, _plain(here), _plain(there)] for b, here, there in parts
        ],
    }  # fmt: skip
    _note(folder, content)


def read_places(folder: Path, source: str, arrays: Arrays) -> Placed | None:
    """Return the vectors of a block, each batch of which was checked by its checksum once in this process; None where
    they must be looked up by key.
    """
    try:
        content = _noted(folder, source)
        values = np.empty((content["count"], arrays.dim), dtype=np.float32)
        arrays.fill(values, ((tuple(batch), _rows(here), _rows(there)) for *batch, here, there in content["parts"]))
        return Placed(values, content["distinct"])
    except _UNUSABLE:
        return None


def write_numbers(folder: Path, numbers: Mapping[str, Numbers]) -> None:
    """Write the numbers of blocks that follow each other, by source, in one file under the first source."""
    plain = [[s, base64.b64encode(n.values.astype("<f4").tobytes()).decode(), n.vectors] for s, n in numbers.items()]
    _note(folder, {"source": next(iter(numbers)), "numbers": plain})


def read_numbers(folder: Path, source: str) -> dict[str, Numbers]:
    """Return what ``write_numbers`` wrote under a source; {} where it wrote nothing."""
    try:
        return {
            str(s): Numbers(np.frombuffer(base64.b64decode(values), dtype="<f4").astype(np.float32), int(vectors))
            for s, values, vectors in _noted(folder, source)["numbers"]
        }
    except _UNUSABLE:
        return {}


def _note(folder: Path, content: dict[str, Any]) -> None:
    write_whole(folder / _name(content["source"]), seal(content), overwrite=True, sync=False)


def _noted(folder: Path, source: str) -> dict[str, Any]:
    """Return the note of a block; raises one of ``_UNUSABLE`` where there is none."""
    with open(os.path.join(folder, _name(source)), "rb", buffering=0) as file:
        content: dict[str, Any] = unseal(file.read())
    if content["source"] != source:
        raise KeyError(source)
    return content


def _name(source: str) -> str:
    return f"{hashlib.sha256(source.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"


def _plain(rows: Rows) -> dict[str, list[int]]:
    return {"run": [rows.start, rows.stop]} if isinstance(rows, slice) else {"rows": rows.tolist()}


def _rows(written: dict[str, Any]) -> Rows:
    return slice(*written["run"]) if "run" in written else np.array(written["rows"], dtype=np.int64)
