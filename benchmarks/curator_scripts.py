"""Plain scripts of the best libraries that do what a curator does, on a pool of ``benchmarks.curators``.

Each takes the folder of a pool, and returns whether each pair stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import dedup
from diptych.data.words.metaclip_entries import entries
from diptych.nn.text.substrings import normalised
from diptych.nn.vector_head import load_head

LONG, LOOKS = 120, 5
"""Words that the stand-in for a text tower reads, and pictures of a cluster that are labelled."""
CLUSTERS, WANTED = 2 * dedup.KINDS, dedup.KINDS // 2
"""Clusters of pictures, and kinds that stay."""


def frame(folder: Path) -> Any:
    """Return the captions as pandas reads them."""
    import pandas

    return pandas.read_parquet(folder / "pool.parquet", columns=["caption"])["caption"]


def by_clusters(folder: Path) -> np.ndarray:
    """PCA of scikit-learn, k-means of FAISS, and the kind of a few pictures of each cluster."""
    import faiss
    from sklearn.decomposition import PCA

    z, kinds = np.load(folder / "images.npy"), np.load(folder / "kinds.npy")
    z = np.ascontiguousarray(PCA(dedup.KINDS, svd_solver="full").fit_transform(z))
    means = faiss.Kmeans(z.shape[1], CLUSTERS, niter=25, seed=0, max_points_per_centroid=len(z))
    means.train(z)
    members = means.index.search(z, 1)[1][:, 0]
    label = np.full(CLUSTERS, -1)
    for cluster in range(CLUSTERS):
        seen, votes = np.unique(kinds[members == cluster][:LOOKS], return_counts=True)
        if len(seen) and votes.max() * 2 > votes.sum():
            label[cluster] = seen[votes.argmax()]
    return (label[members] >= 0) & (label[members] < WANTED)


def by_text(folder: Path, near: bool = False) -> np.ndarray:
    """Rules of pandas, then equal words, or also datasketch's min-hashes in bands."""
    texts = frame(folder)
    words = texts.str.lower().str.findall(r"[^\W_]+")
    sentences = texts.str.lower().str.strip(".!?").str.split(r"[.!?]+\s*", regex=True)
    bad = (words.str.len() < 3) | (texts.str.split().str.len() > LONG) | texts.str.fullmatch(r"\S+\.jpg")
    bad |= sentences.map(lambda texts: len(set(texts)) < len(texts))
    keep = ~(bad | words.where(~bad).str.join(" ").duplicated()).to_numpy()
    if near:
        from datasketch import MinHash, MinHashLSH

        index = MinHashLSH(params=(8, 8), num_perm=64)
        for i in np.flatnonzero(keep):
            signature = MinHash(64)
            signature.update_batch([f"{a} {b}".encode() for a, b in zip(words[i], words[i][1:], strict=False)])
            keep[i] = not index.query(signature)
            if keep[i]:
                index.insert(int(i), signature)
    return keep


def by_cosine(folder: Path) -> np.ndarray:
    """One product a pair, and NumPy's partition."""
    cosines = (np.load(folder / "images.npy") * np.load(folder / "texts.npy")).sum(1)
    keep, best = np.zeros(len(cosines), dtype=bool), int(0.3 * len(cosines))
    keep[np.argpartition(-cosines, best)[:best]] = True
    return keep


def by_entries(folder: Path) -> np.ndarray:
    """Whether pyahocorasick finds an entry."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for i, name in enumerate(entries("wordnet")):
        automaton.add_word(f" {name} ", i)
    automaton.make_automaton()
    return np.array([next(automaton.iter(normalised(text)), None) is not None for text in frame(folder)])


def by_head(folder: Path) -> np.ndarray:
    """Logistic regression of scikit-learn, with the same weights."""
    from sklearn.linear_model import LogisticRegression

    ((weight, bias),) = load_head(folder / "head.safetensors").layers
    line = LogisticRegression()
    line.coef_, line.intercept_, line.classes_ = weight, bias, np.array([False, True])
    kept: np.ndarray = line.predict(np.load(folder / "images.npy"))
    return kept


def by_cells(folder: Path) -> np.ndarray:
    """FAISS's k-means, and all pairs of a cell."""
    z = np.load(folder / "images.npy")
    return dedup.script(z, max(1, len(z) // 1000))


SCRIPTS: dict[str, Callable[[Path], np.ndarray]] = {
    "biomedica": by_clusters,
    "caption-checks": partial(by_text, near=True),
    "caption-checks:exact": by_text,
    "clip-score": by_cosine,
    "metaclip:matched": by_entries,
    "semdedup": by_cells,
    "vector-head": by_head,
}
"""Script of each system, or of a variant of it."""
