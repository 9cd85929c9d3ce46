"""Where the vectors of a block of a pool lie: read in the order in which they lie, and never by key.

    folder/<space>/pools/<hash of the source>.json    the array files and rows that answer a block, with a checksum

A source says which rows of which file the block is and in which state the file was. What is written here is a shortcut:
where it is absent, damaged, or names an array that was merged since, vectors are looked up by key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diptych.data.files import write_whole
from diptych.store.sealed import BrokenFileError, seal, unseal
from diptych.store.shards import Arrays, Block

Rows = slice | NDArray[np.int64]


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


def write_places(folder: Path, source: str, parts: Iterable[Part], count: int, distinct: int) -> None:
    """Write where the vectors of N pairs lie."""
    content = {
        "source": source, "count": count, "distinct": distinct,
        "parts": [
            [b.array, b.start, len(b.keys), b.digest, _plain(here), _plain(there)] for b, here, there in parts
        ],
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    write_whole(folder / _name(source), seal(content), overwrite=True, sync=False)


def read_places(folder: Path, source: str, arrays: Arrays) -> Placed | None:
    """Return the vectors of a block, each batch of which was checked by its checksum once in this process; None where
    they must be looked up by key.
    """
    try:
        content = unseal((folder / _name(source)).read_bytes())
        if content["source"] != source:
            return None
        values = np.empty((content["count"], arrays.dim), dtype=np.float32)
        for array, start, count, digest, here, there in content["parts"]:
            arrays.fill(values, _rows(here), (array, start, count, digest), _rows(there))
        return Placed(values, content["distinct"])
    except (OSError, BrokenFileError, KeyError, TypeError, ValueError, IndexError):
        return None


def _name(source: str) -> str:
    return f"{hashlib.sha256(source.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"


def _plain(rows: Rows) -> dict[str, list[int]]:
    return {"run": [rows.start, rows.stop]} if isinstance(rows, slice) else {"rows": rows.tolist()}


def _rows(written: dict[str, Any]) -> Rows:
    return slice(*written["run"]) if "run" in written else np.array(written["rows"], dtype=np.int64)
