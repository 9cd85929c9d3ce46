"""The picture vectors of a pool as a plan, and which pairs are near another one.

    S_ij = max over the views a of j of <z_i, z_j^a>,       i, j in one cell of k-means
    D_ij = min over the views a of j of the bits in which the hashes of i and of view a of j differ
    s_i  = max over j before i in the cell of R_ij;          -1 for the first
    R_ij = S_ij                                              rule "vector"
           1 where D_ij <= bits, else -1                     rule "hash"
           S_ij where D_ij <= bits, else -1                  rule "both"
           1 where D_ij <= bits, else S_ij                   rule "either"

z_i: (D,) unit vector of picture i
views: the picture, and its mirror image where those are embedded too
before: in the order of the cosine with the mean of the cell, or of a random number
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from diptych.core import DataError, Encoder, Plan, Run, UsageError
from diptych.core.blocks import Block
from diptych.core.curate import NAMED
from diptych.core.one_thread import one_thread
from diptych.core.wording import no_plan
from diptych.data.draws import random_state_kept, uniform
from diptych.data.memory import InMemory
from diptych.data.sorted_runs import Layout, Rows, RunWriter, SortedRuns, facts_of, read_runs
from diptych.features.picture_facts import Bits, bits_apart, picture_facts
from diptych.features.pool_vectors import Pictures, PoolVectors, failures
from diptych.features.unit_rows import unit_rows

Keep = Literal["hard", "easy", "random"]
Rule = Literal["vector", "hash", "both", "either"]
SAMPLE, EACH, STEPS = 100_000, 256, 25
"""Vectors that the means of cells are made from, at most; the same of each cell; steps of k-means (both as FAISS's
defaults). Ids are hashes, so the first ones are a random sample.
"""
CELL = 1000
"""Pairs a cell, where nobody says how many cells there are (ours)."""
MOST_CELLS = SAMPLE // 40
LEAST = np.float32(1e-12)
"""Shorter vectors have the cosines of this length."""
BLOCK = 256
"""Rows of a cell that are compared at a time."""
_PLAN = "pair vectors"
_EMPTY = hashlib.blake2b(digest_size=8)


class Vectors(NamedTuple):
    """Vectors of N pairs with A views.

    Args:
        ids: (N,) uint64, see ``identity``.
        values: (N, A, D) float16 unit vectors.
        hashes: (N, 2) uint64, of the picture and of its mirror image.
    """

    ids: Bits
    values: NDArray[np.float16]
    hashes: Bits

    def rows(self) -> SortedRuns:
        """Return them as rows of ``layout``."""
        writer = RunWriter(layout(*self.values.shape[1:]))
        writer.add(self.columns())
        return writer.finished()

    def columns(self) -> Rows:
        """Return them by column."""
        return {"id": self.ids, "hash": self.hashes, "vector": self.values.reshape(len(self.ids), -1)}


def layout(views: int, dim: int) -> Layout:
    """Return the layout of the vectors of pairs."""
    return Layout({"id": ("u8", 0), "hash": ("u8", 2), "vector": ("f2", views * dim)}, ("id",))


def identity(name: str, position: int) -> int:
    """Return the 64 bits by which a pair is known."""
    return int.from_bytes(_digest(position, name), "big")


def _digest(position: int, name: str) -> bytes:
    digest = _EMPTY.copy()  # takes less time than a new one
    digest.update(f"{position}\0{name}".encode("utf-8", "surrogateescape"))
    return digest.digest()


def identities(block: Block) -> Bits:
    """Return (N,) identities of the pairs of a block."""
    digests = b"".join(map(_digest, block.positions.tolist(), block.names))
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


@dataclass(frozen=True, eq=False)
class PairVectors(Plan):
    """Vectors of all readable pictures of a pool, 2 A D + 24 bytes per pair, on disk where there are many.

    Args:
        mirrored: whether the mirror images are embedded too, A = 2.
        dim: D.
        rows: of ``Vectors.rows``.
        pairs: items of the pool.
        broken: pictures that could not be read.
        unread: name and reason of the first ``NAMED`` of them.
    """

    backbone: str
    mirrored: bool
    dim: int
    rows: SortedRuns
    pairs: int = 0
    broken: int = 0
    unread: tuple[tuple[str, str], ...] = ()
    _decided: dict[Any, SortedRuns] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decided": {}}

    def merge(self, other: PairVectors) -> PairVectors:
        """Take the vectors of both; raises UsageError where backbone or views differ."""
        if (self.backbone, self.mirrored) != (other.backbone, other.mirrored):
            raise UsageError("Plans of two backbones, or with and without mirror images, cannot be merged: plan alike.")
        unread = (*self.unread, *other.unread)[:NAMED]
        counts = self.pairs + other.pairs, self.broken + other.broken
        return PairVectors(self.backbone, self.mirrored, self.dim, self.rows + other.rows, *counts, unread)

    def nearest(self, cells: int | None, keep: Keep, rule: Rule, bits: int, seed: int) -> SortedRuns:
        """Return id and score s of every pair; decided once, and kept with the plan.

        Args:
            cells: number of cells; None: one for each ``CELL`` pairs, at most ``MOST_CELLS``.
            keep: which of a group comes first: "hard" the one with the least cosine with the mean of the cell, "easy"
                the one with the greatest, "random" any.
            rule: what makes two pairs near; see the module.
            bits: most bits in which two near hashes differ.
            seed: of the random order.
        """
        key = cells, keep, rule, bits, seed if keep == "random" else 0
        if key not in self._decided:
            self._decided[key] = near(self.rows, 1 + self.mirrored, cells, keep, rule, bits, seed)
        return self._decided[key]

    def report(self) -> dict[str, Any]:
        """Return numbers of pairs, of vectors, of bytes and of broken pictures."""
        count = self.rows.distinct()
        size = count * self.rows.layout.width
        return {"pairs": self.pairs, "vectors": count, "bytes": size, "broken": self.broken}

    def write(self, path: Path) -> None:
        """Write an Arrow file of id, hashes and vectors, with the rest in its metadata."""
        facts = {
            "diptych": _PLAN, "backbone": self.backbone, "mirrored": json.dumps(self.mirrored), "dim": str(self.dim),
            "counts": json.dumps([self.pairs, self.broken]), "unread": json.dumps(self.unread),
        }  # fmt: skip
        self.rows.write(path, facts)


def read_vectors(path: Path, system: str) -> PairVectors:
    """Open what ``PairVectors.write`` wrote; raises DataError where it is absent, damaged or something else."""
    import pyarrow as pa

    try:
        facts = facts_of(path)
        if facts.get("diptych") != _PLAN:
            raise ValueError("another table")
        mirrored, dim = bool(json.loads(facts["mirrored"])), int(facts["dim"])
        pairs, broken = json.loads(facts["counts"])
        unread = tuple((str(name), str(reason)) for name, reason in json.loads(facts["unread"]))
        rows = read_runs(path, layout(1 + mirrored, dim))
        return PairVectors(facts["backbone"], mirrored, dim, rows, pairs, broken, unread)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(no_plan(path, system, error)) from None


@dataclass(frozen=True)
class _Mirrored:
    """The mirror image of an item whose key is known."""

    item: Any
    known: str

    def image(self) -> Image.Image:
        return ImageOps.mirror(self.item.image())

    def key(self) -> str:
        return hashlib.sha256(f"mirror image of {self.known}".encode()).hexdigest()


def pair_vectors(encoder: Encoder[Any], backbone: str, pool: Iterable[Block], mirrored: bool, run: Run) -> PairVectors:
    """Embed the pictures of a pool.

    Args:
        encoder: of pictures.
        backbone: its fingerprint.
        pool: its pairs.
        mirrored: embed the mirror images too.
        run: as for ``embed``.
    """
    vectors = PoolVectors(run)
    rows, pairs, broken, unread = RunWriter(layout(1 + mirrored, encoder.dim)), 0, 0, list[tuple[str, str]]()
    with run.track("embed pictures") as bar:
        for block in pool:
            pictures = Pictures(block)
            looked = picture_facts(pictures, run, vectors)
            readable = looked.kept.tolist()
            result = vectors.rows(encoder, pictures, readable)
            stored = looked.kept[result.kept]
            views = [result.values[:, 0]]
            if mirrored:
                numbers = stored.tolist()
                others = [_Mirrored(block.items[i], pictures.key(i)) for i in numbers]
                images = InMemory(others, [block.name(i) for i in numbers])
                views.append(vectors.arrays(encoder, images).values[:, 0])
            values = np.empty((len(stored), len(views), encoder.dim), dtype=np.float16)
            for number, view in enumerate(views):
                unit_rows(view, values[:, number])
            rows.add(Vectors(identities(block)[stored], values, looked.hashes[result.kept]).columns())
            failed = failures(range(len(block)), readable, looked.failed)
            failed |= failures(readable, stored.tolist(), result.failed)
            pairs, broken = pairs + len(block), broken + len(failed)
            unread += [(failed[i].name, failed[i].reason) for i in sorted(failed)[: NAMED - len(unread)]]
            bar.advance(len(block))
    return PairVectors(backbone, mirrored, encoder.dim, rows.finished(), pairs, broken, tuple(unread))


def near(rows: SortedRuns, views: int, cells: int | None, keep: Keep, rule: Rule, bits: int, seed: int) -> SortedRuns:
    """Return id and s of every pair, with one cell in memory at a time.

    Args:
        rows: of ``layout``.
        views: A.
        cells: this and the others as in ``PairVectors.nearest``.
        keep: which of a group comes first.
        rule: what makes two pairs near.
        bits: most bits in which two near hashes differ.
        seed: of the random order.
    """
    inside = Layout({"cell": ("u8", 0), "first": ("f8", 0), **rows.layout.columns}, ("cell", "first", "id"), False)
    by_cell, scored = RunWriter(inside), RunWriter(Layout({"id": ("u8", 0), "score": ("f4", 0)}, ("id",)))
    means = _means(rows, views, cells)
    for part in rows.merged():
        with one_thread(4 * BLOCK * means.size):
            cell, typical = _cells(part["vector"].reshape(len(part["id"]), views, -1)[:, 0], means)
        if keep == "random":
            first = np.array([uniform(seed, i) for i in part["id"].tolist()])
        else:
            first = (typical if keep == "hard" else -typical).astype(np.float64)
        by_cell.add({"cell": cell, "first": first, **part})
    members = by_cell.finished()
    for number in range(len(means)):
        part = members.between(number, number + 1)
        z = part["vector"].reshape(len(part["id"]), views, -1).astype(np.float32)
        unit_rows(z, z)
        with one_thread(BLOCK * z.size):
            scored.add({"id": part["id"], "score": _nearest_before(z, part["hash"], rule, bits)})
    return scored.finished()


def _nearest_before(z: NDArray[np.float32], hashes: Bits, rule: Rule, bits: int) -> NDArray[np.float32]:
    """Return (n,) the largest R of each row with an earlier one."""
    out = np.full(len(z), -1.0, dtype=np.float32)
    behind = ~np.tri(BLOCK, k=-1, dtype=bool)  # of each row, itself and those after it
    for start in range(0, len(z), BLOCK):
        stop = min(start + BLOCK, len(z))
        same = z[start:stop, 0] @ z[:stop, 0].T
        for view in range(1, z.shape[1]):
            np.maximum(same, z[start:stop, 0] @ z[:stop, view].T, out=same)
        if rule != "vector":
            apart = bits_apart(hashes[start:stop, 0], hashes[:stop, 0])
            if z.shape[1] > 1:
                np.minimum(apart, bits_apart(hashes[start:stop, 0], hashes[:stop, 1]), out=apart)
            if rule in ("hash", "both"):
                same[apart > bits] = -1.0
            if rule in ("hash", "either"):
                same[apart <= bits] = 1.0
        np.copyto(same[:, start:], -1.0, where=behind[: stop - start, : stop - start])
        out[start:stop] = same.max(axis=1)
    return out


def _means(rows: SortedRuns, views: int, cells: int | None) -> NDArray[np.float32]:
    """Return (C, D) unit means of cells: k-means on the pairs of least id, from the first of them on, which are
    random ones (as FAISS begins).
    """
    count = cells or min(MOST_CELLS, max(1, rows.distinct() // CELL))
    dim = rows.layout.columns["vector"][1] // views
    sample, held = np.empty((min(SAMPLE, EACH * count, len(rows)), dim), dtype=np.float32), 0
    for part in rows.merged():
        some = part["vector"].reshape(len(part["id"]), views, dim)[: len(sample) - held, 0]
        sample[held : held + len(some)] = some
        held += len(some)
        if held == len(sample):
            break
    sample = sample[:held]
    if not held:
        return sample
    unit_rows(sample, sample)
    first = _distinct(sample, count)
    if len(first) == 1:
        means = sample.mean(axis=0, keepdims=True)
    else:
        with random_state_kept():
            from sklearn.cluster import KMeans

        # k-means++ reads the whole sample once for each cell: of 200 cells it takes far longer than all steps
        means = KMeans(len(first), init=sample[first], n_init=1, max_iter=STEPS, random_state=0, copy_x=False)
        with one_thread(sample.size * len(first)):
            means = means.fit(sample).cluster_centers_
    return unit_rows(means.astype(np.float32))


def _distinct(sample: NDArray[np.float32], count: int) -> list[int]:
    """Return the first rows that differ from all before them, at most ``count``."""
    rows: dict[bytes, int] = {}
    for number, row in enumerate(sample):
        rows.setdefault((row + 0.0).tobytes(), number)  # -0 is 0
        if len(rows) == count:
            break
    return [*rows.values()]


def _cells(values: NDArray[np.float16], means: NDArray[np.float32]) -> tuple[Bits, NDArray[np.float32]]:
    """Return (N,) cells of unit vectors and their cosines with the mean of the cell."""
    members, typical = np.zeros(len(values), np.uint64), np.zeros(len(values), np.float32)
    for start in range(0, len(values), 4 * BLOCK):
        z = values[start : start + 4 * BLOCK].astype(np.float32)
        products = z @ means.T
        members[start : start + len(z)] = products.argmax(axis=1)
        lengths = np.sqrt(np.einsum("nd,nd->n", z, z)).clip(LEAST)  # 1 but for the rounding to 16 bits, or 0
        typical[start : start + len(z)] = products.max(axis=1) / lengths
    return members, typical
