"""The results of long work, piece by piece in a folder, so that a command that was stopped goes on from them.

FOLDER/HASH.npz   the results of up to ``Run.batch`` items, under the hash of the job, with what was fitted, and of the
                  content keys of the items
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from diptych import __version__
from diptych.core import Run, Samples, Subset, UsageError
from diptych.core.run import Job, Workers
from diptych.evaluation.kept import digest, read_arrays, write_arrays
from diptych.features.packing import of_arrays, to_arrays
from diptych.tasks.label_maps.segmented import Segmented

S = TypeVar("S")
R = TypeVar("R")
_STRUCTURE = "structure"  # name of the array that holds the JSON


@dataclass(frozen=True)
class ItemCheckpoint:
    """Workers that write the results of each piece at once, and return those that an earlier run wrote.

    ``Run.tally`` counts those ("reused").

    Args:
        folder: made with the first results.
        workers: do what is not there yet; None: this process does.
    """

    folder: Path
    workers: Workers | None = None

    def spread(self, job: Job[S, R], items: Samples[S], run: Run, /) -> Iterator[R]:
        """Yield the results of a job in the order of the items, see ``Run.spread``.

        A piece that has a result which cannot be written, such as an item that cannot be read, is done again next time.
        """
        decided, here = digest([__version__, job]), replace(run, cluster=None)
        every = range(len(items))
        pieces = [Subset(items, tuple(every[i : i + run.batch])) for i in every[:: run.batch]]
        missing, written = dict[Path, Subset[S]](), set[Path]()
        for piece in pieces if self.workers else ():
            if not (path := self._path(decided, piece)).exists():
                missing.setdefault(path, piece)
        wanted = Subset(items, tuple(i for piece in missing.values() for i in piece.indices))
        shared = iter(()) if self.workers is None else self.workers.spread(job, wanted, run)
        for piece in pieces:
            path = self._path(decided, piece)
            mine = missing.pop(path, None) is None
            if mine and (known := _read(path, piece)) is not None:
                run.tally["reused"] += 0 if path in written else len(piece)  # of an equal photo of this run
                yield from known
                continue
            written.add(path)
            results = list[R]()
            for result in job(piece, here) if mine else islice(shared, len(piece)):
                results.append(result)
                if len(results) == len(piece):
                    _write(path, results)  # before the user sees the last one
                yield result

    def _path(self, decided: str, piece: Samples[Any]) -> Path:
        return self.folder / f"{digest([decided, piece])}.npz"


def _write(path: Path, results: Sequence[Any]) -> None:
    """Write results without their photos, which the items hold; do nothing where one cannot be written."""
    with suppress(UsageError):
        bare: dict[str, Any] = {"image": None}
        structure, arrays = to_arrays([replace(r, **bare) if isinstance(r, Segmented) else r for r in results])
        write_arrays(path, {**arrays, _STRUCTURE: np.frombuffer(json.dumps(structure).encode(), np.uint8)})


def _read(path: Path, piece: Samples[Any]) -> list[Any] | None:
    """Return the results of a piece with the photos and their names; None where the file is damaged."""
    with suppress(Exception):
        arrays = read_arrays(path)
        results = of_arrays(json.loads(arrays.pop(_STRUCTURE).tobytes()), arrays, path)
        return [
            replace(r, name=piece.name(i), image=piece[i]) if isinstance(r, Segmented) else r
            for i, r in enumerate(results)
        ]
    return None
