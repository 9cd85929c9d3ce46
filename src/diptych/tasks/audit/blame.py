"""Which training pictures are behind a confusion?

A picture is classed by a vote of the k nearest training pictures, so that each mistake has its causes at hand: the
pictures of the wrong class that were nearest. A training picture is suspected of a wrong label where four of its own
five nearest, itself left out, are of one other class. Hard pictures are suspected too: how many wrong labels such a
search finds is told by labels that are changed on purpose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import AuditData, Run, Subject
from diptych.features.subjects import embeddings

NEAREST = 5
"""k: training pictures that vote."""
SURE = 0.8
"""Share of the vote from which on a label is suspected."""
PLANTED = 0.05
"""Share of the training labels that are changed on purpose."""


@dataclass(frozen=True)
class Blamed:
    """One training picture.

    Args:
        count: in how many mistakes of the confusion it voted; of a suspected label, 0.
        suggested: class that its neighbours have; "" where they agree with the label.
        agreement: share of its neighbours that have the suggested class.
    """

    probe: str
    key: str
    name: str
    label: str
    count: int = 0
    suggested: str = ""
    agreement: float = 0.0


@dataclass(frozen=True)
class Confusion:
    """Pictures of one class that are taken for another.

    Args:
        pictures: content keys of up to three of them.
        blamed: training pictures of the predicted class that voted for it most often, up to three.
    """

    true: str
    predicted: str
    count: int
    of: int
    pictures: tuple[str, ...]
    blamed: tuple[Blamed, ...]


@dataclass(frozen=True)
class Blame:
    """What training pictures do to the answers.

    Args:
        accuracy: of the vote, on the own pictures.
        confusions: the most frequent first.
        suspects: training pictures with a suspected label, the nearest neighbours first.
        planted: labels that were changed on purpose, in a copy.
        found: how many of these were suspected.
    """

    accuracy: float
    items: int
    trained: int
    confusions: tuple[Confusion, ...]
    suspects: tuple[Blamed, ...]
    planted: int = 0
    found: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def blame(subject: Subject, data: AuditData, run: Run) -> Blame | None:
    """Return the confusions of the own pictures, the training pictures behind them, and suspected labels; one table in
    distribution and one of training items have the same classes.

    Returns:
        None where there are no training items, fewer than two, or no classes.

    Raises:
        DataError: a table has no labels.
        MissingPart: the subject has no backbone.
    """
    trained = data.of("train")
    if not data.of("id") or len(trained) != 1 or len(next(iter(trained.values())).table) < 2:
        return None
    (shots, lesson), (_, probe) = next(iter(trained.items())), data.one()
    if lesson.classes is None or probe.classes is None:
        return None
    names, labels, taught = probe.named().names, probe.table.labels(), lesson.table.labels()
    z, bank = (embeddings(subject, p.table.items, run).double().numpy() for p in (probe, lesson))
    near = nearest_rows(z @ bank.T, min(NEAREST, len(bank)))
    predicted = vote(near, taught, len(names))
    wrong = Counter(
        (int(t), int(p)) for t, p in zip(labels.tolist(), predicted.tolist(), strict=True) if t != p
    ).most_common(5)
    confusions = []
    for (true, other), count in wrong:
        rows = np.flatnonzero((labels == true) & (predicted == other))
        votes = Counter(int(j) for i in rows for j in near[i] if taught[j] == other)
        blamed = tuple(
            Blamed(shots, lesson.table.items.key(j), lesson.table.items.name(j), names[other], n)
            for j, n in votes.most_common(3)
        )
        keys = tuple(probe.table.items.key(int(i)) for i in rows[:3])
        confusions.append(Confusion(names[true], names[other], count, int((labels == true).sum()), keys, blamed))
    suspects = tuple(
        Blamed(
            shots, lesson.table.items.key(i), lesson.table.items.name(i), names[taught[i]], 0, names[to], float(share)
        )
        for i, to, share in suspected(bank, taught, len(names))
    )
    accuracy = float((predicted == labels).mean())
    planted, detected = sensitivity(bank, taught, len(names), np.random.default_rng(run.integer("planted labels")))
    return Blame(accuracy, len(labels), len(bank), tuple(confusions), suspects, planted, detected)


def nearest_rows(cosines: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the k best columns of each row, (N, k), the best first; ties go to the first column."""
    return np.argsort(-cosines, axis=1, kind="stable")[:, :k]


def vote(near: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return the class with most votes, (N,); of several, the one whose nearest voter is nearest.

    Args:
        near: (N, k) rows of training pictures, the nearest first.
        labels: (M,) their classes.
        classes: K.
    """
    votes = _counts(near, labels, classes)
    first = labels[near]
    tied = votes == votes.max(axis=1, keepdims=True)
    return np.array([next(y for y in row if best[y]) for row, best in zip(first, tied, strict=True)], dtype=np.int64)


def suspected(bank: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> list[tuple[int, int, float]]:
    """Return (row, class of its neighbours, their share) of suspected labels, the surest first.

    Args:
        bank: (M, D) unit vectors of training pictures.
        labels: (M,) their classes.
        classes: K.
    """
    cosines = bank @ bank.T
    np.fill_diagonal(cosines, -np.inf)
    k = min(NEAREST, len(bank) - 1)
    near = nearest_rows(cosines, k)
    votes, to = _counts(near, labels, classes), vote(near, labels, classes)
    shares = votes[np.arange(len(bank)), to] / k
    rows = [i for i in range(len(bank)) if to[i] != labels[i] and shares[i] >= SURE]
    closeness = np.take_along_axis(cosines, near, axis=1).mean(axis=1)
    return [(i, int(to[i]), float(shares[i])) for i in sorted(rows, key=lambda i: (-shares[i], -closeness[i]))]


def sensitivity(
    bank: NDArray[np.float64], labels: NDArray[np.int64], classes: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Return how many labels were changed on purpose, to another class at random, and how many of them are suspected.

    Args:
        bank: (M, D) unit vectors of training pictures.
        labels: (M,) their classes; they stay as they are.
        classes: K.
        rng: draws the labels and their new classes.
    """
    changed = labels.copy()
    rows = rng.permutation(len(labels))[: max(1, round(PLANTED * len(labels)))] if classes > 1 else np.zeros(0, int)
    changed[rows] = (changed[rows] + rng.integers(1, max(2, classes), size=len(rows))) % classes
    suspects = {i for i, _, _ in suspected(bank, changed, classes)}
    return len(rows), len(suspects & set(rows.tolist()))


def _counts(near: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    votes = np.zeros((len(near), classes), dtype=np.int64)
    for column in labels[near].T:
        votes[np.arange(len(near)), column] += 1
    return votes
