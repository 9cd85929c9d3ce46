"""The embedding store: vectors on disk by content key, the same bits for good. NumPy only, no torch.

    folder/store.json                          {"schema": 1}
    folder/<space>/space.json                  what made these vectors, in clear; <space> is its hash
    folder/<space>/plans/<number>.json         batches of keys, on the disk (fsync) before anything is encoded
    folder/<space>/shards/<shard>.json, *.npy  finished batches, one or many a shard (``features.shards``)

**Why plans.** The last bits of a vector depend on its batch mates (matrix products choose their kernel by size). So the store fixes who
goes with whom before encoding, and a batch that was interrupted or damaged is redone whole with the same members.

**Rules.** (1) Who writes a plan or finishes a batch looks at all earlier ones first and holds the file lock of the space meanwhile (never
while encoding), so all processes see one order; readers need no lock. (2) A process that needs keys which an unfinished plan names, of
several plans the last, redoes those batches if it holds all their members; else it plans its keys anew. (3) A key belongs for good to the
batch that was finished first; a batch finished later lists it under ``yields``. (4) What fails its checksum is reported, dropped and made
again; nothing else is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import UsageError
from diptych.features.plans import Batch, name_batches, read_plans, verify_plans
from diptych.features.shards import (
    Block,
    BrokenFileError,
    Damage,
    Index,
    list_blocks,
    list_shards,
    locked,
    other_blocks,
    read_blocks,
    read_rows,
    remove_shards,
    seal,
    sweep,
    verify_shards,
    write_array,
    write_whole,
)
from diptych.features.store_folder import read_facts, settle, space_id, using

_HEX = re.compile(r"[0-9a-f]{8,128}")
_STALE = 3600.0  # seconds after which a draft or an array without JSON is nobody's work in progress


def log_damage(damage: Damage) -> None:
    """Say what is damaged through the logger of this module."""
    logging.getLogger(__name__).warning("%s", damage)


class Store:
    """Vectors by (space, key) in a folder that several processes may use at once. One object is for one thread.

    Args:
        folder: where it lies; made if absent.
        read_only: answer only, write nothing.
        merge: number of one-batch shards that are merged into one.
        on_damage: called once for each damaged file that is met; the default logs a warning.

    Raises:
        UsageError: the folder holds a schema that cannot be read or migrated, or ``read_only`` and the folder does not exist.
        DiptychError: the folder cannot be used: no space, no permission, no folder.

    Example:
        >>> import tempfile
        >>> store = Store(Path(tempfile.mkdtemp()))
        >>> space = store.space({"encoder": "00ff", "dim": 2})
        >>> (batch,) = store.plan(space, ["aa" * 32], size=8)
        >>> store.put(space, batch, np.ones((1, 2), dtype=np.float32))
        >>> store.get(space, ["aa" * 32, "bb" * 32])[1].tolist()
        [True, False]
    """

    def __init__(self, folder: Path, *, read_only: bool = False, merge: int = 64, on_damage: Callable[[Damage], None] = log_damage) -> None:
        self.folder, self.read_only, self.merge, self._on_damage = Path(folder), read_only, merge, on_damage
        self._dims: dict[str, int] = {}
        self._indexes: dict[str, Index] = {}
        self._plans: dict[str, dict[str, list[Batch]]] = {}
        self._holds = ""
        self._known: set[Damage] = set()
        self._bad: set[tuple[str, str, str]] = set()  # read-only: (space, shard, batch) that cannot be dropped on disk
        if read_only and not self.folder.is_dir():
            raise UsageError(f"There is no embedding cache at {self.folder}: name a folder that exists, or open it for writing.")
        settle(self.folder, read_only=read_only, report=self._report)

    def space(self, facts: Mapping[str, Any]) -> str:
        """Return the id of a space and make its folder.

        Args:
            facts: plain data that decide the vectors (encoder fingerprint, views, draw, precision) and "dim", the width D.
        """
        space = space_id(facts)
        self._dims[space] = int(facts["dim"])
        path = self.folder / space / "space.json"
        if self.read_only:
            return space
        with using(self.folder):
            for name in ("plans", "shards"):
                (self.folder / space / name).mkdir(parents=True, exist_ok=True)
            existed = path.exists()  # asked first: another process may write it between two looks
            if read_facts(path.parent) == dict(facts):
                with contextlib.suppress(OSError):  # the time of last use: ``housekeeping`` prunes by it
                    os.utime(path)
                return space
            if existed:
                self._report(Damage(path, "not the facts of this space"))
            write_whole(path, json.dumps(dict(facts), indent=2, sort_keys=True).encode())
        return space

    def get(self, space: str, keys: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Look up N keys.

        Returns:
            (N, D) float32 values, zero where not found, and (N,) found. Every row was checked against its block's checksum.
        """
        _check(keys)
        dim, folder = self._dim(space), self.folder / space / "shards"
        values, found = np.zeros((len(keys), dim), dtype=np.float32), np.zeros(len(keys), dtype=bool)
        while True:
            index = self._index(space)
            rows = np.fromiter((index.owner.get(k, -1) for k in keys), dtype=np.int64, count=len(keys))
            wanted = np.flatnonzero((rows >= 0) & ~found)
            wanted = wanted[np.argsort(rows[wanted], kind="stable")]
            starts = np.asarray(index.starts, dtype=np.int64)
            numbers, cuts = np.unique(np.searchsorted(starts, rows[wanted], side="right") - 1, return_index=True)
            lost = []
            for number, part in zip(numbers.tolist(), np.split(wanted, cuts[1:]), strict=False):  # nothing wanted: no numbers, one part
                block = index.blocks[number]
                try:
                    values[part] = read_rows(folder, block, dim)[rows[part] - starts[number]]
                    found[part] = True
                except BrokenFileError as error:
                    lost.append((block, str(error)))
            if not lost:
                return values, found
            for block, reason in lost:
                self._drop(space, block, reason)

    def known(self, space: str, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Tell of N keys whether they have vectors; (N,). Nothing is read, so ``get`` may still find a block damaged."""
        _check(keys)
        owner = self._index(space).owner
        return np.fromiter((k in owner for k in keys), dtype=bool, count=len(keys))

    def failures(self, space: str) -> Mapping[str, str]:
        """Return key -> reason of members of finished batches that could not be read."""
        return self._index(space).failed

    def finished(self, space: str, batch: Batch) -> bool:
        """Tell whether a batch is on disk, whoever finished it."""
        return batch.name in self._index(space).done

    def plan(self, space: str, keys: Sequence[str], *, size: int, within: Collection[str] | None = None) -> list[Batch]:
        """Fix, on disk, which batches answer the keys that are not found.

        Args:
            space: id of the space.
            keys: what is needed.
            size: members a new batch.
            within: keys whose items the caller holds; an unfinished batch of an older plan is redone only if all its members are
                among them. None: ``keys``.

        Returns:
            Unfinished batches of older plans, last first, then new ones. Last first, because a key that was planned twice may have been
            answered by its last plan only, and because two processes at the same work then meet in the middle.
        """
        _check(keys)
        self._may_write()
        held = set(keys if within is None else within)
        with self._locked(space):
            index, plans = self._index(space), self._plans.setdefault(space, {})
            read_plans(self.folder / space / "plans", plans, self._report)
            open_keys = dict.fromkeys(k for k in keys if k not in index.owner)
            chosen = []
            for batch in (batch for _, batches in sorted(plans.items(), reverse=True) for batch in reversed(batches)):
                if batch.name not in index.done and any(k in open_keys for k in batch.keys) and held.issuperset(batch.keys):
                    chosen.append(batch)
                    for k in batch.keys:
                        open_keys.pop(k, None)
            rest = list(open_keys)
            if not rest:
                return chosen
            # A finished batch keeps the number of its plan taken, even where the plan is lost.
            number = f"{1 + max([-1, *map(int, plans), *(int(name[:8]) for name in index.done)]):08d}"
            batches = name_batches(number, [rest[i : i + size] for i in range(0, len(rest), size)])
            content = seal({"batches": [b.keys for b in batches]})
            write_whole(self.folder / space / "plans" / f"{number}.json", content, sync=True)
            return chosen + batches

    def put(self, space: str, batch: Batch, values: NDArray[np.float32], failed: Mapping[str, str] | None = None) -> None:
        """Store the vectors of a whole batch; nothing happens if it is already there.

        Args:
            space: id of the space.
            batch: as planned.
            values: (n, D) of the members that are not in ``failed``, in their order.
            failed: key -> reason of members that could not be read.

        Raises:
            UsageError: the values have another shape, or the store is read-only.
        """
        _check(batch.keys)
        self._may_write()
        broken = dict(failed or {})
        keys = tuple(k for k in batch.keys if k not in broken)
        if values.shape != (len(keys), self._dim(space)):
            raise UsageError(f"Batch {batch.name} needs values ({len(keys)}, {self._dim(space)}), not {values.shape}.")
        with self._locked(space):
            index, folder = self._index(space), self.folder / space / "shards"
            if batch.name not in index.done:
                block = Block(batch.name, keys, broken, frozenset(k for k in keys if k in index.owner))
                write_whole(folder / f"{batch.name}.json", list_blocks(write_array(folder, batch.name, [(block, values)])))
            if sum(not b.merged for b in self._index(space).blocks) >= self.merge:
                self.compact(space)

    def compact(self, space: str) -> None:
        """Merge the one-batch shards of a space into one, and sweep what killed processes left. Safe to kill."""
        self._may_write()
        with self._locked(space):
            folder, parts = self.folder / space / "shards", []
            for block in [b for b in self._index(space).blocks if not b.merged]:
                try:
                    parts.append((block, read_rows(folder, block, self._dim(space))))
                except BrokenFileError as error:
                    self._drop(space, block, str(error))
            if len(parts) > 1:
                name = f"merged-{hashlib.sha256('/'.join(b.batch for b, _ in parts).encode()).hexdigest()[:16]}"
                write_whole(folder / f"{name}.json", list_blocks(write_array(folder, name, parts)))
                remove_shards(folder, [b for b, _ in parts])
            sweep(folder, self._index(space).arrays, _STALE)

    def verify(self) -> list[Damage]:
        """Check every file of every space and change nothing."""
        found: list[Damage] = []
        for space in sorted(p.name for p in self.folder.iterdir() if p.is_dir() and _HEX.fullmatch(p.name)):
            folder, facts = self.folder / space, read_facts(self.folder / space)
            if facts is None:
                found.append(Damage(folder / "space.json", "missing, or not the facts of this space"))
                continue
            found += verify_plans(folder / "plans") + verify_shards(folder / "shards", int(facts["dim"]))
        return found

    def _dim(self, space: str) -> int:
        if space not in self._dims:
            facts = read_facts(self.folder / space) if _HEX.fullmatch(space) else None
            if facts is None:
                raise UsageError(f"The embedding cache {self.folder} has no space {space!r}: make it with Store.space(facts).")
            self._dims[space] = int(facts["dim"])
        return self._dims[space]

    def _index(self, space: str) -> Index:
        """Return the index, extended by new shards; built anew where a shard was merged, dropped or written again."""
        self._dim(space)
        folder = self.folder / space / "shards"
        while True:
            index, present = self._indexes.get(space, Index()), list_shards(folder)
            if index.files == present:  # two equal looks: no merge has hidden a shard from the listing
                return index
            if not index.files.items() <= present.items():
                index = Index()
            self._indexes[space] = index
            for name in sorted(present.keys() - index.files.keys()):
                try:
                    blocks = read_blocks(folder, name)
                except BrokenFileError as error:
                    self._drop_shard(space, name, str(error))
                except FileNotFoundError:  # merged by another process since the listing
                    break
                else:
                    for block in blocks:
                        if (space, name, block.batch) not in self._bad:
                            index.add(block)
                index.files[name] = present[name]

    def _drop_shard(self, space: str, name: str, reason: str) -> None:
        path = self.folder / space / "shards" / f"{name}.json"
        self._report(Damage(path, reason))
        if not self.read_only:
            with self._locked(space):
                path.unlink(missing_ok=True)

    def _drop(self, space: str, block: Block, reason: str) -> None:
        """Report a block and take it out of its shard, unless another process has just merged that shard."""
        folder = self.folder / space / "shards"
        self._indexes.pop(space, None)
        with contextlib.nullcontext() if self.read_only else self._locked(space):
            others = other_blocks(folder, block)
            if others is None:
                return
            self._report(Damage(folder / block.array, reason, len(block.keys)))
            if self.read_only:
                self._bad.add((space, block.shard, block.batch))
            elif others:
                write_whole(folder / f"{block.shard}.json", list_blocks(others))
            else:
                remove_shards(folder, [block])

    def _report(self, damage: Damage) -> None:
        if damage not in self._known:
            self._on_damage(damage)
        if self.read_only:  # it stays on disk and will be met again
            self._known.add(damage)

    def _may_write(self) -> None:
        if self.read_only:
            raise UsageError(f"The embedding cache {self.folder} is open for reading only: open it for writing, or name another folder.")

    @contextlib.contextmanager
    def _locked(self, space: str) -> Iterator[None]:
        """Hold the lock of a space; a method that holds it may call another that takes it."""
        if space == self._holds:
            yield
            return
        with using(self.folder), locked(self.folder / space / "lock"):
            self._holds = space
            try:
                yield
            finally:
                self._holds = ""


def _check(keys: Sequence[str]) -> None:
    for key in keys:
        if not _HEX.fullmatch(key):
            raise UsageError(f"{key!r} is no key: keys are 8 to 128 lower-case hexadecimal digits of a content hash.")
