"""What a classifier said about each test item, small enough to keep beside every row, and the metrics with their
intervals.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.errors import DamagedStore
from diptych.core.method import Scores
from diptych.data.files import write_whole
from diptych.features.heads import logits_of

if TYPE_CHECKING:
    pass

BINS = 15
DRAWS = 1000
METRICS = ("acc1", "acc5", "mean_per_class_recall", "ece", "nll")
_CELLS = 1 << 23  # numbers a bootstrap step may hold at once


@dataclass(frozen=True)
class Outcome:
    """Predictions on N items of K classes; all metrics are functions of these five numbers an item.

    Args:
        labels: (N,) true class positions.
        predicted: (N,) top-1 class positions.
        rank: (N,) place of the true class, 0 is top-1; ties go to the first class.
        confidence: (N,) probability of the predicted class, softmax over the classes.
        log_likelihood: (N,) log probability of the true class.
        classes: K.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    rank: NDArray[np.int64]
    confidence: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    classes: int

    @classmethod
    def of(cls, scores: Scores, backbone: Backbone, labels: NDArray[np.int64]) -> Outcome:
        """Summarise scores. Probabilities are a softmax for every backbone, since each item has exactly one label."""
        ranked = scores.ranked().double().numpy()
        log_p = logits_of(scores, backbone).double().log_softmax(dim=1).numpy()
        rows = np.arange(len(labels))
        own = ranked[rows, labels][:, None]
        earlier = np.arange(ranked.shape[1])[None] < labels[:, None]
        rank = (ranked > own).sum(axis=1) + ((ranked == own) & earlier).sum(axis=1)
        predicted = ranked.argmax(axis=1)
        # A true class outside the candidates has probability 0: its likelihood is floored, so that one item cannot make
        # the mean infinite.
        likelihood = np.maximum(log_p[rows, labels], np.log(np.finfo(np.float32).tiny))
        return cls(labels, predicted, rank, np.exp(log_p[rows, predicted]), likelihood, ranked.shape[1])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether top-1 is right."""
        return np.asarray(self.predicted == self.labels)

    def metrics(self) -> dict[str, float]:
        """Return the metrics of ``METRICS`` as fractions (NLL in nats); acc5 is NaN below five classes."""
        return {name: float(values[0]) for name, values in self.weighted(np.ones((1, len(self.labels)))).items()}

    def weighted(self, counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return each metric of B resamples, given by (B, N) item counts."""
        total = counts.sum(axis=1)
        correct = self.correct.astype(np.float64)
        with np.errstate(invalid="ignore"):
            recall = _group_sums(counts * correct, self.labels) / _group_sums(counts, self.labels)
        seen = np.isfinite(recall)  # a resample may miss a class
        return {
            "acc1": counts @ correct / total,
            "acc5": counts @ (self.rank < 5) / total if self.classes >= 5 else np.full(len(total), np.nan),
            "mean_per_class_recall": np.where(seen, recall, 0.0).sum(axis=1) / seen.sum(axis=1),
            "ece": np.abs(_group_sums(counts * (correct - self.confidence), self.bins)).sum(axis=1) / total,
            "nll": -(counts @ self.log_likelihood) / total,
        }

    @property
    def bins(self) -> NDArray[np.int64]:
        """(N,) bin of the confidence among ``BINS`` equal ones, closed on the right."""
        return np.clip(np.ceil(self.confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)

    def reliability(self) -> list[tuple[float, float, int]]:
        """Return (mean confidence, accuracy, items) of each non-empty bin of ``ece``."""
        chosen = [self.bins == b for b in range(BINS)]
        return [
            (float(self.confidence[m].mean()), float(self.correct[m].mean()), int(m.sum())) for m in chosen if m.any()
        ]

    def save(self, path: Path) -> None:
        """Write the arrays as .npz, atomically, over an older file."""
        content = io.BytesIO()
        arrays: dict[str, Any] = {**vars(self), "classes": np.array(self.classes)}
        np.savez_compressed(content, **arrays)
        write_whole(path, content.getvalue(), overwrite=True)

    @classmethod
    def load(cls, path: Path) -> Outcome:
        """Read what ``save`` wrote.

        Raises:
            DamagedStore: the file is absent or not such a file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("labels", "predicted", "rank", "confidence", "log_likelihood")}
                return cls(**arrays, classes=int(file["classes"]))
        except Exception as error:  # np.load raises OSError, ValueError, KeyError, BadZipFile, EOFError ...
            raise DamagedStore(f"{path} does not hold the predictions of a row: delete it and run again.") from error


def _group_sums(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum the columns of (B, N) values within each group that occurs: (B, G)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) > 0])
    return np.add.reduceat(values[:, order], starts, axis=1)


def _resamples(
    seeds: int, items: int, draws: int, seed: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield, in blocks of b draws, (b, items) item counts and (b, seeds) drawn seeds: the crossed bootstrap of
    ``metrics.interval``.
    """
    rng = np.random.default_rng(seed)
    block = max(1, min(draws, _CELLS // max(1, items)))
    for start in range(0, draws, block):
        b = min(block, draws - start)
        yield (
            rng.multinomial(items, np.full(items, 1 / items), size=b).astype(np.float64),
            rng.integers(seeds, size=(b, seeds)),
        )


def intervals(outcomes: Sequence[Outcome], *, seed: int, draws: int = DRAWS) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile interval of each metric that is a number, averaged over seeds; items and seeds are
    both resampled.

    Args:
        outcomes: one a seed, of the same items in the same order.
        seed: of the bootstrap.
        draws: number of resamples.
    """
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in METRICS}
    for counts, chosen in _resamples(len(outcomes), len(outcomes[0].labels), draws, seed):
        tables = [outcome.weighted(counts) for outcome in outcomes]
        for name, values in found.items():
            values.append(np.take_along_axis(np.stack([t[name] for t in tables], axis=1), chosen, axis=1).mean(axis=1))
    ends = {name: np.quantile(np.concatenate(values), [0.025, 0.975]) for name, values in found.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items() if np.isfinite([low, high]).all()}


def hits(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """Return (S, N) zeros and ones: which items each seed classified rightly; what paired tests compare."""
    return np.stack([o.correct for o in outcomes]).astype(np.float64)


def mean_metrics(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return each metric averaged over seeds."""
    tables = [outcome.metrics() for outcome in outcomes]
    return {name: float(np.mean([t[name] for t in tables])) for name in METRICS}
