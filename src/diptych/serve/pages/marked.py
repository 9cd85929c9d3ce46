"""A head that is fitted to the marked answers of one query, which orders all entries or is saved as a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from diptych.core import Classifier, ClassNames
from diptych.search_index.described import Vectors
from diptych.search_index.opening import AnyIndex
from diptych.serve.model import ServedModel
from diptych.tasks.defaults import DEFAULTS, default
from diptych.tasks.model import Predictor

INVERSE_PENALTY = 10.0
"""scikit-learn's C; marks are few, and right and wrong ones weigh the same."""


@dataclass(frozen=True)
class MarkedHead:
    """A logistic regression between right and wrong answers of a query.

    Args:
        weight: (D,) on unit vectors of pictures; the larger, the more likely right.
        bias: added to it.
        right: number of pictures that were marked right.
        wrong: and wrong.
    """

    weight: Vectors = field(repr=False)
    bias: float
    right: int
    wrong: int

    @property
    def direction(self) -> Vectors:
        """The weight as a (D,) unit vector, which orders entries as the head does."""
        return self.weight / np.float32(np.linalg.norm(self.weight))


def marked_head(index: AnyIndex, marks: Mapping[str, bool | None]) -> MarkedHead | None:
    """Return the head of the marks of one query; None without right and wrong ones.

    Args:
        index: of the entries.
        marks: name of an entry -> whether it is right.
    """
    from sklearn.linear_model import LogisticRegression

    numbers = index.numbers(list(marks))
    known = [name for name in marks if name in numbers]
    slots = index.slots([numbers[name] for name in known])
    there = slots >= 0
    labels = np.array([bool(marks[name]) for name in known], dtype=bool)[there]
    if labels.all() or not labels.any():
        return None
    vectors = np.asarray(index.vectors("image")[slots[there]], dtype=np.float64)
    fitted = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced").fit(vectors, labels)
    right = int(labels.sum())
    return MarkedHead(fitted.coef_[0].astype(np.float32), float(fitted.intercept_[0]), right, len(labels) - right)


def as_model(head: MarkedHead, query: str, model: ServedModel, index: AnyIndex) -> dict[str, bytes]:
    """Return the files of a model folder, which ``diptych classify --model`` and ``serve --classifier`` take.

    The classes are the query and "not " before it; the probability is that of the logistic regression, without
    calibration: the marked answers are those that it was fitted on.
    """
    weight = torch.zeros(2, model.dim)
    weight[0] = torch.from_numpy(head.weight)
    system: Any = default("head", Classifier)
    fitted = system.with_weights(
        ClassNames((query, f"not {query}")), model.model, weight, torch.tensor([head.bias, 0.0]), INVERSE_PENALTY
    )
    about = {
        "method": DEFAULTS["head"], "source": f"marks of the index {Path(index.folder).resolve().name}", "query": query,
        "marks": {"right": head.right, "wrong": head.wrong},
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        path = Path(folder) / "head"
        Predictor(fitted, None, model.model, about, model.calls).save(path)
        return {f"head/{file.name}": file.read_bytes() for file in sorted(path.iterdir())}
