"""What a killed writer of an index does: ``python -m tests.support.work.index FOLDER``. Prints the number of each
committed batch.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from diptych.search_index.index import Index
from diptych.search_index.rows import Entry

DIM, BATCH = 16, 8


def vector(name: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    v = np.random.default_rng(seed).standard_normal(DIM)
    return (v / np.linalg.norm(v)).astype(np.float32)


def fill(index: Index, number: int) -> None:
    entries = [
        Entry(f"{number}-{i}", caption="even" if i % 2 == 0 else "", facts={"batch": number}) for i in range(BATCH)
    ]
    vectors = np.stack([vector(e.name) for e in entries])
    even = np.arange(0, BATCH, 2)
    index.add(entries, {"image": (np.arange(BATCH), vectors), "text": (even, -vectors[even])})


def main(folder: Path) -> None:
    index = Index.create(folder, {"dim": DIM, "fingerprint": "f"})
    last = max((int(n.split("-")[0]) for n in index.names()), default=-1)
    for number in range(last + 1, 100_000):
        fill(index, number)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        if number % 5 == 4:
            index.delete([f"{number}-{i}" for i in range(BATCH // 2)])
        if number % 10 == 9:
            index.compact()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
