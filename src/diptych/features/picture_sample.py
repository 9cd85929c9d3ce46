"""A sample of the pictures of a pool, of which the samples of its parts give that of the whole, and its clusters.

    S(A + B) = the size items of least hash among S(A) and S(B)

An item is in the sample by the hash of its name alone, so neither the order of a pool nor its division matters.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Clustered, DataError, Encoder, Run, UnreadableItem, UsageError
from diptych.core.blocks import Block
from diptych.core.curate import NAMED
from diptych.core.one_thread import one_thread
from diptych.core.wording import no_plan
from diptych.data.files import write_whole
from diptych.features.picture_facts import picture_facts
from diptych.features.pool_vectors import Pictures, PoolVectors, failures
from diptych.features.unit_rows import unit_rows

PENDING = 8192
"""Items that wait until they are merged into a sample."""
Floats = NDArray[np.float32]
Settings = tuple[str, int, int, int]


def rank(name: str) -> int:
    """Return the hash by which an item is sampled, in [0, 2^63)."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Looked:
    """What was seen of the pictures of a block; those that are too small are in neither.

    Args:
        kept: (M,) numbers of the readable ones, ascending.
        vectors: (M, D) float32 embeddings, not normalised; (M, 0) where nothing was embedded.
        broken: number -> reason.
    """

    kept: NDArray[np.int64]
    vectors: Floats
    broken: Mapping[int, str]


def embed_sized(
    encoder: Encoder[Any],
    block: Block,
    least: int,
    run: Run,
    *,
    rows: Sequence[int] | None = None,
    vectors: bool = True,
    pool: PoolVectors | None = None,
) -> Looked:
    """Embed the pictures whose sides are both larger than ``least`` pixels.

    Args:
        encoder: of pictures.
        block: of N pairs.
        least: in pixels.
        run: as for ``embed``.
        rows: numbers of the pairs that are looked at; None: all.
        vectors: False looks at sizes, and embeds none.
        pool: of the same run, for many calls in a row.
    """
    pool, pictures = pool or PoolVectors(run), Pictures(block)
    wanted = np.arange(len(block)) if rows is None else np.array(rows, dtype=np.int64)
    facts = picture_facts(pictures, run, pool, wanted.tolist())
    readable = wanted[facts.kept]
    reasons = _reasons(wanted.tolist(), readable.tolist(), facts.failed)
    large = readable[facts.sizes.min(axis=1) > least] if len(readable) else readable
    if not vectors:
        return Looked(large, np.zeros((len(large), 0), np.float32), reasons)
    result = pool.rows(encoder, pictures, large.tolist())
    embedded = large[result.kept]
    broken = _reasons(large.tolist(), embedded.tolist(), result.failed)
    return Looked(embedded, result.values[:, 0], reasons | broken)


def _reasons(rows: Sequence[int], kept: Sequence[int], failed: Sequence[UnreadableItem]) -> dict[int, str]:
    """Return row -> reason of the rows that are not kept."""
    return {row: error.reason for row, error in failures(rows, kept, failed).items()}


@dataclass(frozen=True)
class Clusters:
    """Principal components and means.

    Args:
        centre: (D,) mean of the unit embeddings of the sample.
        basis: (P, D) principal directions.
        means: (K, P).
    """

    centre: NDArray[np.float64]
    basis: NDArray[np.float64]
    means: NDArray[np.float64]

    def nearest(self, vectors: Floats) -> NDArray[np.int64]:
        """Return the clusters of (N, D) embeddings, (N,); of equally near means the first."""
        with one_thread(len(vectors) * max(self.basis.size, self.means.size)):
            z = (_unit(vectors) - self.centre) @ self.basis.T
            gaps = (self.means**2).sum(1) - 2 * z @ self.means.T
        return np.asarray(gaps.argmin(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class PictureSample(Clustered):
    """A sample of a pool, which falls into clusters.

    Args:
        clusters, components, size: K, P and S.
        names: M <= S items of the sample in the order of their hashes.
        vectors: (M, D) float32 embeddings, not normalised.
        pairs: items of the pool.
        captioned: those of them that have a caption.
        broken: pictures that could not be read when they were looked at.
        unread: name and reason of the first ``NAMED`` of them.
    """

    backbone: str
    clusters: int
    components: int
    size: int
    names: tuple[str, ...]
    vectors: Floats
    pairs: int = 0
    captioned: int = 0
    broken: int = 0
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def settings(self) -> Settings:
        """What two plans must have in common."""
        return self.backbone, self.clusters, self.components, self.size

    def merge(self, other: PictureSample) -> PictureSample:
        """Return the sample of both pools; raises UsageError where backbone, K, P or S differ."""
        if self.settings != other.settings:
            raise UsageError(f"Plans of {self.settings} and {other.settings} cannot be merged: plan both alike.")
        return _joined([self, other])

    @cached_property
    def found(self) -> Clusters:
        """The clusters of the sample: principal components, then k-means from a fixed seed.

        Raises:
            DataError: the sample is empty.
        """
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA

        if not len(self.names):
            raise DataError("The plan has no picture with a caption: plan over pairs whose pictures can be read.")
        unit = _unit(self.vectors)
        clusters = min(self.clusters, len(np.unique(unit, axis=0)))
        with one_thread(unit.size * unit.shape[1]):
            pca = PCA(min(self.components, *unit.shape), svd_solver="full").fit(unit)
        with one_thread(len(unit) * clusters * pca.n_components_):
            means = KMeans(clusters, n_init=1, random_state=0).fit(pca.transform(unit))
        return Clusters(pca.mean_, pca.components_, means.cluster_centers_)

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """(M,) cluster of each item of the sample."""
        return self.found.nearest(self.vectors)

    def looks(self, count: int) -> list[tuple[int, str]]:
        """Return the first items of each cluster in the order of the sample, which is random; see ``Clustered``."""
        seen = Counter[int]()
        chosen = []
        for cluster, name in zip(self.members.tolist(), self.names, strict=True):
            seen[cluster] += 1
            if seen[cluster] <= count:
                chosen.append((cluster, name))
        return sorted(chosen, key=lambda look: look[0])

    def report(self) -> dict[str, Any]:
        """Return numbers of pairs, of those with captions, of the sample, of clusters, and of broken pictures."""
        clusters = len(self.found.means) if self.names else 0
        return {
            "pairs": self.pairs, "captioned": self.captioned, "sampled": len(self.names), "clusters": clusters,
            "broken": self.broken,
        }  # fmt: skip

    def write(self, path: Path) -> None:
        """Write a Parquet table of name and vector, with the rest in its metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        facts = {
            "diptych": "picture sample", "settings": json.dumps(self.settings), "dim": str(self.vectors.shape[1]),
            "counts": json.dumps([self.pairs, self.captioned, self.broken]), "unread": json.dumps(self.unread),
        }  # fmt: skip
        columns = {
            "filepath": pa.array(self.names, pa.string()),
            "vector": pa.array(list(self.vectors), pa.list_(pa.float32())),
        }
        table = pa.table(columns).replace_schema_metadata(facts)
        write_whole(path, lambda draft: pq.write_table(table, draft), overwrite=True)


def sampled(encoder: Encoder[Any], settings: Settings, blocks: Iterable[Block], least: int, run: Run) -> PictureSample:
    """Sample the items that have a text and a picture that is large enough.

    Only items that may be in the sample are embedded.

    Args:
        encoder: of pictures.
        settings: of ``PictureSample``.
        blocks: of the pool.
        least: see ``embed_sized``.
        run: as for ``embed``.
    """
    plan = PictureSample(*settings, (), np.zeros((0, encoder.dim), np.float32))
    parts, pool = list[PictureSample](), PoolVectors(run)
    with run.track("sample pictures") as bar:
        for block in blocks:
            captioned = [i for i, text in enumerate(block.texts()) if text.strip()]
            bound, names = rank(plan.names[-1]) if len(plan.names) == plan.size else 2**63, block.names
            tried = [i for i in captioned if rank(names[i]) < bound]
            looked = embed_sized(encoder, block, least, run, rows=tried, pool=pool)
            unread = tuple((names[i], reason) for i, reason in looked.broken.items())
            counts = (len(block), len(captioned), len(unread))
            seen = tuple(names[i] for i in looked.kept.tolist())
            parts.append(PictureSample(*settings, seen, looked.vectors, *counts, unread[:NAMED]))
            if sum(len(part.names) for part in parts) > PENDING:
                plan, parts = _joined([plan, *parts]), []
            bar.advance(len(block))
    return _joined([plan, *parts])


def read_sample(path: Path, system: str) -> PictureSample:
    """Read what ``PictureSample.write`` wrote; raises DataError where it is absent, damaged or something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        if facts.get("diptych") != "picture sample":
            raise ValueError("another table")
        flat = table.column("vector").combine_chunks().values if len(table) else []
        vectors = np.array(flat, dtype=np.float32).reshape(len(table), int(facts["dim"]))
        settings: Settings = tuple(json.loads(facts["settings"]))
        counts = json.loads(facts["counts"])
        unread = tuple((str(name), str(reason)) for name, reason in json.loads(facts["unread"]))
        names = tuple(table.column("filepath").to_pylist())
        pairs, captioned, broken = counts
        return PictureSample(*settings, names, vectors, pairs, captioned, broken, unread)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(no_plan(path, system, error)) from None


def _joined(plans: Sequence[PictureSample]) -> PictureSample:
    """Return the sample of several pools of the same settings."""
    names, rows = _least([name for plan in plans for name in plan.names], plans[0].size)
    return PictureSample(
        *plans[0].settings,
        names,
        np.concatenate([plan.vectors for plan in plans])[rows],
        sum(plan.pairs for plan in plans),
        sum(plan.captioned for plan in plans),
        sum(plan.broken for plan in plans),
        tuple(unread for plan in plans for unread in plan.unread)[:NAMED],
    )


def _least(names: Sequence[str], size: int) -> tuple[tuple[str, ...], list[int]]:
    """Return the ``size`` names of least hash, each once, in that order, and their positions."""
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        first.setdefault(name, i)
    chosen = sorted(first, key=lambda name: (rank(name), name))[:size]
    return tuple(chosen), [first[name] for name in chosen]


def _unit(vectors: Floats) -> NDArray[np.float64]:
    return unit_rows(vectors.astype(np.float64))
