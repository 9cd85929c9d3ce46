"""The embedding store: vectors on disk by content key, the same bits for good. NumPy only, no torch.

    folder/store.json                          {"schema": 1}
    folder/<space>/space.json                  what made these vectors, in clear; <space> is its hash
    folder/<space>/plans/<number>.json         batches of keys, on the disk (fsync) before anything is encoded
    folder/<space>/shards/<shard>.json, *.npy  finished batches, one or many a shard (``store.shards``)
    folder/<space>/pools/*.json                where the vectors of blocks of pools lie (``store.places``)

**Why plans.** The last bits of a vector depend on its batch mates (matrix products choose their kernel by size). So the
store fixes who goes with whom before encoding, and a batch that was interrupted or damaged is redone whole with the
same members.

**Rules.** (1) Who writes a plan or finishes a batch looks at all earlier ones first and holds the file lock of the
space meanwhile (never while encoding), so all processes see one order; readers need no lock. (2) A process that needs
keys which an unfinished plan names, of several plans the last, redoes those batches if it holds all their members; else
it plans its keys anew. (3) A key belongs for good to the batch that was finished first; a batch finished later lists it
under ``yields``. (4) What fails its checksum is reported, dropped and made again; nothing else is touched.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import UsageError
from diptych.data.files import remove_stale_drafts, write_whole
from diptych.store.folder import read_facts, settle, space_id, using
from diptych.store.index import Index
from diptych.store.places import Numbers, Placed
from diptych.store.plans import HEX, Batch, check_keys, name_batches, read_plans, verify_plans
from diptych.store.sealed import Damage, seal
from diptych.store.shards import Block, verify_shards
from diptych.store.space_shards import SpaceShards

NAMED = 5
"""Damaged files that the log names, of all that one store meets."""


class _Log:
    """Says what is damaged through the logger of this module, and after ``NAMED`` files that there are more."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def __call__(self, damage: Damage) -> None:
        self.count += 1
        if self.count <= NAMED:
            logging.getLogger(__name__).warning("%s", damage)
        elif self.count == NAMED + 1:
            logging.getLogger(__name__).warning("%s: more of its files are damaged, and made again too.", self.folder)


class Store:
    """Vectors by (space, key) in a folder that several processes may use at once. One object is for one thread.

    Args:
        folder: where it lies; made if absent.
        read_only: answer only, write nothing.
        merge: number of one-batch shards that are merged into one.
        on_damage: called once for each damaged file that is met; None (default) logs the first ``NAMED``.

    Raises:
        UsageError: the folder holds a schema that cannot be read or migrated, or ``read_only`` and the folder does not
            exist.
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

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        merge: int = 64,
        on_damage: Callable[[Damage], None] | None = None,
    ) -> None:
        self.folder, self.read_only, self.merge = Path(folder), read_only, merge
        self._on_damage = _Log(self.folder) if on_damage is None else on_damage
        self._dims: dict[str, int] = {}
        self._shards: dict[str, SpaceShards] = {}
        self._plans: dict[str, tuple[Index, dict[str, list[Batch]]]] = {}  # plan -> batches that are not finished
        self._known: set[Damage] = set()
        if read_only and not self.folder.is_dir():
            raise UsageError(
                f"There is no embedding cache at {self.folder}: name a folder that exists, or open it for writing."
            )
        settle(self.folder, read_only=read_only, report=self._report)

    def space(self, facts: Mapping[str, Any]) -> str:
        """Return the id of a space and make its folder.

        Args:
            facts: plain data that decide the vectors (encoder fingerprint, views, draw, precision) and "dim", the width
                D.
        """
        space = space_id(facts)
        self._dims[space] = int(facts["dim"])
        path = self.folder / space / "space.json"
        if self.read_only:
            return space
        with using(self.folder):
            for name in ("plans", "shards"):
                (self.folder / space / name).mkdir(parents=True, exist_ok=True)
                remove_stale_drafts(self.folder / space / name)
            existed = path.exists()  # looked up first: another process may write it between two looks
            if read_facts(path.parent) == dict(facts):
                with contextlib.suppress(OSError):  # the time of last use: ``housekeeping`` prunes by it
                    os.utime(path)
                return space
            if existed:
                self._report(Damage(path, "not the facts of this space"))
            write_whole(path, json.dumps(dict(facts), indent=2, sort_keys=True), overwrite=True, sync=False)
        return space

    def get(self, space: str, keys: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Look up N keys.

        Returns:
            (N, D) float32 values, zero where not found, and (N,) found. Every row was checked against its block's
            checksum.
        """
        check_keys(keys)
        return self._of(space).read(keys)

    def placed(self, space: str, source: str) -> Placed | None:
        """Return the vectors of a block of a pool that ``place`` noted, without keys; None where there are none."""
        return self._of(space).placed(source)

    def place(self, space: str, source: str, keys: Sequence[str]) -> None:
        """Note where the vectors of a block of a pool lie.

        Args:
            space: id of the space.
            source: which rows of which file these are, and in which state it was.
            keys: of the N pairs, all of which have vectors.
        """
        self._of(space).place(source, keys)

    def noted(self, space: str, source: str) -> Mapping[str, Numbers]:
        """Return what ``note`` noted of blocks of which this is the first source; {} where it is nothing."""
        return self._of(space).noted(source)

    def note(self, space: str, numbers: Mapping[str, Numbers]) -> None:
        """Note numbers of the pairs of blocks that follow each other, by source, which vectors alone decide."""
        self._of(space).note(numbers)

    def known(self, space: str, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Tell of N keys whether they have vectors; (N,). Nothing is read: ``get`` may still find a damaged block."""
        check_keys(keys)
        return self._of(space).index().find(keys)[0] >= 0

    def failures(self, space: str) -> Mapping[str, str]:
        """Return key -> reason of members of finished batches that could not be read."""
        return self._of(space).index().failed

    def finished(self, space: str, batch: Batch) -> bool:
        """Tell whether a batch is on disk, whoever finished it."""
        return self._of(space).index().done(batch.name)

    def plan(self, space: str, keys: Sequence[str], *, size: int, within: Collection[str] | None = None) -> list[Batch]:
        """Fix, on disk, which batches answer the keys that are not found.

        Args:
            space: id of the space.
            keys: what is needed.
            size: members a new batch.
            within: keys whose items the caller holds; an unfinished batch of an older plan is redone only if all its
                members are among them. None: ``keys``.

        Returns:
            Unfinished batches of older plans, last first, then new ones. Last first, because a key that was planned
            twice may have been answered by its last plan only, and because two processes at the same work then meet in
            the middle.
        """
        check_keys(keys)
        self._may_write()
        wanted_keys = set(keys if within is None else within)
        shards = self._of(space)
        with shards.lock():
            index = shards.index()
            seen, plans = self._plans.get(space, (index, {}))
            if seen is not index:  # built anew, so a batch that was finished may be to do again
                plans = {}
            self._plans[space] = index, plans
            for number, batches in plans.items():
                plans[number] = [batch for batch in batches if not index.done(batch.name)]
            read_plans(self.folder / space / "plans", plans, index.done, self._report)
            places, _ = index.find(keys)
            open_keys = dict.fromkeys(k for k, block in zip(keys, places.tolist(), strict=True) if block < 0)
            chosen = []
            for batch in (batch for _, batches in sorted(plans.items(), reverse=True) for batch in reversed(batches)):
                if any(k in open_keys for k in batch.keys) and wanted_keys.issuperset(batch.keys):
                    chosen.append(batch)
                    for k in batch.keys:
                        open_keys.pop(k, None)
            rest = list(open_keys)
            if not rest:
                return chosen
            # A finished batch keeps the number of its plan taken, even where the plan is lost.
            number = f"{1 + max([index.last, *map(int, plans)]):08d}"
            batches = name_batches(number, [rest[i : i + size] for i in range(0, len(rest), size)])
            content = seal({"batches": [b.keys for b in batches]})
            write_whole(self.folder / space / "plans" / f"{number}.json", content, durable=True)
            return chosen + batches

    def put(
        self, space: str, batch: Batch, values: NDArray[np.float32], failed: Mapping[str, str] | None = None
    ) -> None:
        """Store the vectors of a whole batch; nothing happens if it is already there.

        Args:
            space: id of the space.
            batch: as planned.
            values: (n, D) of the members that are not in ``failed``, in their order.
            failed: key -> reason of members that could not be read.

        Raises:
            UsageError: the values have another shape, or the store is read-only.
        """
        check_keys(batch.keys)
        self._may_write()
        broken = dict(failed or {})
        keys = tuple(k for k in batch.keys if k not in broken)
        shards = self._of(space)
        if values.shape != (len(keys), shards.dim):
            raise UsageError(f"Batch {batch.name} needs values ({len(keys)}, {shards.dim}), not {values.shape}.")
        with shards.lock():
            index = shards.index()
            if not index.done(batch.name):
                owned = index.find(keys)[0] >= 0
                yields = frozenset(k for k, other in zip(keys, owned.tolist(), strict=True) if other)
                shards.write(Block(batch.name, keys, broken, yields), values)
            if len(shards.index().singles) >= self.merge:
                shards.compact()

    def compact(self, space: str) -> None:
        """Merge the one-batch shards of a space into one, and sweep what killed processes left. Safe to kill."""
        self._may_write()
        self._of(space).compact()

    def verify(self) -> list[Damage]:
        """Check every file of every space and change nothing."""
        damages: list[Damage] = []
        for space in sorted(p.name for p in self.folder.iterdir() if p.is_dir() and HEX.fullmatch(p.name)):
            folder, facts = self.folder / space, read_facts(self.folder / space)
            if facts is None:
                damages.append(Damage(folder / "space.json", "missing, or not the facts of this space"))
                continue
            damages += verify_plans(folder / "plans") + verify_shards(folder / "shards", int(facts["dim"]))
        return damages

    def _of(self, space: str) -> SpaceShards:
        if space not in self._shards:
            if space not in self._dims:
                facts = read_facts(self.folder / space) if HEX.fullmatch(space) else None
                if facts is None:
                    raise UsageError(
                        f"The embedding cache {self.folder} has no space {space!r}: make it with Store.space(facts)."
                    )
                self._dims[space] = int(facts["dim"])
            self._shards[space] = SpaceShards(
                self.folder, space, self._dims[space], self._report, read_only=self.read_only
            )
        return self._shards[space]

    def _report(self, damage: Damage) -> None:
        if damage not in self._known:
            self._on_damage(damage)
        if self.read_only:  # it stays on disk and will be met again
            self._known.add(damage)

    def _may_write(self) -> None:
        if self.read_only:
            raise UsageError(
                f"The embedding cache {self.folder} is open for reading only: open it for writing, or name another "
                f"folder."
            )
