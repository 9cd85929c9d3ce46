"""Semantic deduplication of stored vectors: ours, and a plain script of FAISS's k-means with a product a cell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.measure import Row, optional
from diptych.features.pair_vectors import Vectors, near

EPS, KINDS = 0.05, 64


def planted(pairs: int, dim: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit vectors, a third of which are near copies of others, in random order, and group and kind of each.

    A kind is a normal cloud of deviation 1, and the means of kinds have deviation ``spread``.
    """
    rng = np.random.default_rng(seed)
    centres = spread * rng.normal(size=(KINDS, dim))
    distinct = pairs - pairs // 3
    kinds = rng.integers(KINDS, size=distinct)
    z = centres[kinds] + rng.normal(size=(distinct, dim))
    groups = np.concatenate([np.arange(distinct), rng.permutation(distinct)[: pairs // 3]])
    z = z[groups] / np.linalg.norm(z[groups], axis=1, keepdims=True)
    z[distinct:] += rng.normal(size=(pairs // 3, dim)) * 0.05 / np.sqrt(dim)
    order = rng.permutation(pairs)
    unit = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    return unit[order], groups[order], kinds[groups[order]]


def script(z: np.ndarray, cells: int) -> np.ndarray:
    """Return whether each vector stays: FAISS's k-means, then all pairs of each cell in one product."""
    import faiss

    means = faiss.Kmeans(z.shape[1], cells, niter=20, spherical=True, seed=0)
    means.train(z)
    similar, members = means.index.search(z, 1)
    keep = np.ones(len(z), dtype=bool)
    for cell in range(cells):
        rows = np.flatnonzero(members[:, 0] == cell)
        rows = rows[np.argsort(similar[rows, 0], kind="stable")]
        earlier = np.triu(z[rows] @ z[rows].T, 1)
        keep[rows] = earlier.max(axis=0, initial=-1.0) < 1 - EPS
    return keep


@contextlib.contextmanager
def deduplicating(pairs: int, dim: int) -> Iterator[Row]:
    """Pairs a second from vectors to what is kept; each contender must keep one of each planted group."""
    z, groups, _ = planted(pairs, dim, 0)
    cells = max(1, pairs // 1000)
    stored = Vectors(np.arange(pairs, dtype=np.uint64), z.astype(np.float16)[:, None], np.zeros((pairs, 2), np.uint64))

    def kept(keep: np.ndarray) -> np.ndarray:
        return np.bincount(groups, keep, minlength=groups.max() + 1)[None].astype(np.float32)

    missing: dict[str, str] = {}
    results: dict[str, Any] = {}
    with optional(missing, "faiss script"):
        import faiss  # noqa: F401

        results["faiss script"] = lambda: kept(script(z, cells))
    results["diptych semdedup"] = lambda: kept(
        near(stored.rows(), 1, cells, "hard", "vector", 10, 0).whole()["score"] < 1 - EPS
    )
    facts = {"cells": cells, "planted": pairs // 3, "eps": EPS}
    facts |= {f"kept by {name}": int(call().sum()) for name, call in results.items()}
    yield Row(results, pairs, "pairs", floors={"diptych semdedup": 0.999}, facts=facts, missing=missing, rounds=3)
