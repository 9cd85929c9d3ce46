"""What was said about photos, as data; no torch, so that a remembered classifier answers without it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from diptych.core import ClassNames, Samples, UnreadableItem
from diptych.core.wording import Guided


class LabelRow(TypedDict):
    """A label and its probability, calibrated where a classifier of the server answers."""

    label: str
    probability: float


class ReasonRow(TypedDict):
    """A reason for the best label, and its weight."""

    text: str
    weight: float


class LabelledRow(TypedDict):
    """Labels of a picture, the best first; its conformal set, and whether it is of none of the classes."""

    path: str
    labels: list[LabelRow]
    set: NotRequired[list[str]]
    unknown: NotRequired[bool]
    reasons: NotRequired[list[ReasonRow]]


class Promises(TypedDict):
    """The calibrated classifier that answered, and what it promises."""

    model: NotRequired[str]
    temperature: NotRequired[float | None]
    calibration_items: NotRequired[int]
    seen_by_fit: NotRequired[bool | None]
    sets: NotRequired[float | None]
    unknown_rate: NotRequired[float | None]


@dataclass(frozen=True)
class Prediction(Guided):
    """What was said about one photo.

    Args:
        name: what the user calls it.
        top: (class name, probability), best first.
        inside: names of the set that holds the true class at the promised coverage, best first; None: no sets were
            asked for.
        unknown: whether it is called unknown at the promised false-alarm rate; None: that was not asked for.
        reasons: (what spoke for the first class, its share in that score), strongest first; None: they were not asked
            for.
    """

    name: str
    top: tuple[tuple[str, float], ...]
    inside: tuple[str, ...] | None = None
    unknown: bool | None = None
    reasons: tuple[tuple[str, float], ...] | None = None

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError(f"A Prediction is not indexed by {key!r}: use its label, its probability or its top.")

    @property
    def label(self) -> str:
        """The most likely class; "" where none is above the threshold."""
        return self.top[0][0] if self.top else ""

    @property
    def probability(self) -> float:
        """That of ``label``; NaN where there is none."""
        return self.top[0][1] if self.top else float("nan")

    def as_dict(self) -> LabelledRow:
        """Return plain data for JSON."""
        data: LabelledRow = {
            "path": self.name,
            "labels": [{"label": label, "probability": round(value, 6)} for label, value in self.top],
        }
        if self.inside is not None:
            data["set"] = list(self.inside)
        if self.unknown is not None:
            data["unknown"] = self.unknown
        if self.reasons is not None:
            data["reasons"] = [{"text": text, "weight": round(weight, 6)} for text, weight in self.reasons]
        return data


def probabilities(
    logits: NDArray[np.float32], score: str = "softmax", sharpness: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return the (N, K) probabilities that a person is shown.

    Args:
        logits: (N, K); -inf gives 0.
        score: "softmax", or "sigmoid" for each class by itself.
        sharpness: (N,) factors of the logits, see ``Scores``; None: 1.
    """
    z = logits if sharpness is None else logits * sharpness[:, None]
    if score == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0, -z)))
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def same_symbols(names: Sequence[str], table: NDArray[np.floating[Any]]) -> list[str]:
    """Return the names without a letter or digit, such as emoji, that a text encoder does not tell apart: their
    probabilities are equal on every photo.

    Args:
        names: of K classes.
        table: (N, K) probabilities.
    """
    symbols = [k for k, name in enumerate(names) if not any(c.isalnum() for c in name)]
    equal = [
        k
        for k in symbols
        if table[:, k].all() and any(np.allclose(table[:, k], table[:, j], rtol=1e-5) for j in symbols if j != k)
    ]
    return [names[k] for k in equal]


def ranked(
    items: Samples[Any], names: Sequence[str], probabilities: Any, order: Any, threshold: float | None
) -> tuple[Prediction, ...]:
    """Return the classes of each item in an order, without those whose probability is below the threshold.

    Args:
        items: N samples.
        names: of K classes.
        probabilities: (N, K).
        order: (N, top) numbers of classes, best first.
        threshold: None leaves none out.
    """
    return tuple(
        Prediction(
            items.name(i), tuple((names[k], float(p[k])) for k in best if threshold is None or p[k] >= threshold)
        )
        for i, (p, best) in enumerate(zip(probabilities, order, strict=True))
    )


@dataclass(frozen=True)
class Classified:
    """Predictions for all readable photos.

    Args:
        predictions: in the order of the photos.
        failed: photos that could not be read, and why.
        classes: names and templates that were used.
        score: "softmax" (probabilities of a photo sum to 1 over all classes) or "sigmoid" (each class for itself).
        threshold: classes below it were left out; None: none were.
        seconds: "encode", "fit" and "predict" wall seconds.
        encoded: photos that went through the image tower; the others came from the cache.
        promises: those of an exported model; {} where another one answered.
        table: (N, K) probabilities of all classes, whatever was left out of ``predictions``.
        languages: that the backbone reads, see ``Spec``.
    """

    predictions: tuple[Prediction, ...]
    failed: tuple[UnreadableItem, ...]
    classes: ClassNames
    backbone: str
    method: str
    score: str
    threshold: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    encoded: int = 0
    promises: Promises = field(default_factory=Promises)
    table: NDArray[np.floating[Any]] | None = field(default=None, repr=False, compare=False)
    languages: tuple[str, ...] = ()

    def as_csv(self) -> str:
        """Return one line per photo and rank: path, rank, label, probability."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["path", "rank", "label", "probability"])
        for p in self.predictions:
            writer.writerows([p.name, rank, label, f"{value:.6f}"] for rank, (label, value) in enumerate(p.top, 1))
        return text.getvalue()
