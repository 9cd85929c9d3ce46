"""A head on picture vectors: one number per picture, from a few linear layers on the unit embedding.

    x_0 = z,   x_{l+1} = a(W_l x_l + b_l),   s = W_L x_L + b_L;   p = 1 / (1 + exp(-s)) where it is a classifier

z: (D,) unit embedding
W_l, b_l: weights and biases; the last layer has one output
a: the identity, or ReLU

Aesthetic scores, NSFW filters and filters of one's own are such heads. A classifier is fitted by logistic regression on
labelled pictures (one layer), or layers are read from a safetensors file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from diptych.core import DataError, UsageError
from diptych.core.ranges import check, one_of
from diptych.data.draws import random_state_kept
from diptych.data.files import write_whole

Floats = NDArray[np.float64]
PENALTIES = tuple(float(c) for c in np.logspace(-1, 5, 7))
"""Inverse penalties of logistic regression that are tried."""
FOLDS = 5
LEAST = 10
"""Pictures of each kind that a head is fitted on, and of each kind that it is checked on, at least (ours)."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, eq=False)
class VectorHead:
    """A head, and how well it did on pictures that it was not fitted on.

    Args:
        layers: weights (out, in) and biases (out,) of each layer.
        activation: between layers, "identity" or "relu".
        classifier: whether the score is a probability, p; else it is s.
        backbone: fingerprint of the image encoder's backbone; "": not known, and the width alone is checked.
        name: what a high score says of a picture.
        low: lower end of the scores that are expected: those of a histogram.
        high: upper end of them.
        val: (n,) scores of pictures that it was not fitted on.
        right: (n,) whether each of them is what the name says.
    """

    layers: tuple[tuple[Floats, Floats], ...]
    activation: Literal["identity", "relu"] = "identity"
    classifier: bool = True
    backbone: str = ""
    name: str = ""
    low: float = 0.0
    high: float = 1.0
    val: Floats = field(default_factory=lambda: np.zeros(0))
    right: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        check(self, one_of("identity", "relu"), "activation")
        shapes = [(weight.shape, bias.shape) for weight, bias in self.layers]
        whole = bool(shapes) and all(len(w) == 2 and b == (w[0],) for w, b in shapes) and shapes[-1][0][0] == 1
        if not whole or any(a[0][0] != b[0][1] for a, b in itertools.pairwise(shapes)) or not self.low < self.high:
            raise DataError(
                f"These layers are no head (weights {[list(w) for w, _ in shapes]}): the widths of linear layers must "
                f"follow each other, and the last one has one output."
            )

    @property
    def dim(self) -> int:
        """D."""
        return int(self.layers[0][0].shape[1])

    @cached_property
    def digest(self) -> str:
        """Return 16 hexadecimal digits that say which head it is."""
        whole = hashlib.sha256(f"{self.activation} {self.classifier}".encode())
        for weight, bias in self.layers:
            whole.update(np.ascontiguousarray(weight).tobytes() + np.ascontiguousarray(bias).tobytes())
        return whole.hexdigest()[:16]

    def scores(self, vectors: NDArray[Any]) -> Floats:
        """Return (N,) scores of (N, D) embeddings, which need not be normalised.

        Raises:
            UsageError: the embeddings have another width.
        """
        if vectors.shape[1:] != (self.dim,):
            raise UsageError(
                f"The head reads vectors of {self.dim} numbers, and the backbone gives {vectors.shape[1]}: use the "
                f"backbone that it was made for."
            )
        x = vectors.astype(np.float64)
        lengths = np.sqrt(np.einsum("nd,nd->n", x, x)).clip(1e-12)[:, None]
        for i, (weight, bias) in enumerate(self.layers):
            x = x @ weight.T / (1.0 if i else lengths) + bias  # of the products, which are fewer than the numbers
            if self.activation == "relu" and i + 1 < len(self.layers):
                x = np.maximum(x, 0.0)
        s = x[:, 0]
        return np.asarray(_sigmoid(s) if self.classifier else s)

    def check(self, backbone: str) -> None:
        """Raise UsageError where it was made for another backbone."""
        if self.backbone and self.backbone != backbone:
            raise UsageError(
                f"The head was fitted on the backbone {self.backbone}, and this one is {backbone}: fit it anew, with "
                f"diptych curate head."
            )

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write a safetensors file."""
        tensors: dict[str, NDArray[Any]] = {}
        for i, (weight, bias) in enumerate(self.layers):
            tensors |= {f"layers.{i}.weight": weight.copy(), f"layers.{i}.bias": bias.copy()}
        tensors |= {"val.scores": self.val.copy(), "val.right": self.right.astype(np.uint8)}
        facts = {
            "diptych": "vector head", "activation": self.activation, "classifier": json.dumps(self.classifier),
            "backbone": self.backbone, "name": self.name, "range": json.dumps([self.low, self.high]),
        }  # fmt: skip
        write_whole(path, lambda draft: save_file(tensors, draft, metadata=facts), overwrite=overwrite)


def load_head(path: Path) -> VectorHead:
    """Read a head from a safetensors file.

    The file is one that ``VectorHead.save`` wrote; or one of others, with a weight and a bias for each linear layer in
    the order of the numbers in their names, such as "layers.0.weight". Its layers have nothing between them, as those
    of LAION's aesthetic predictor, its score is no probability, and its scores are expected in 0 to 10.

    Raises:
        UsageError: there is no such file.
        DataError: it is damaged, or no head.
    """
    if not path.is_file():
        raise UsageError(f"There is no head {path}: fit one with diptych curate head, or give a safetensors file.")
    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            tensors = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        of_ours = facts.get("diptych") == "vector head"
        val = tensors.pop("val.scores", np.zeros(0)), tensors.pop("val.right", np.zeros(0)).astype(bool)
        stems = sorted({name.rpartition(".")[0] for name in tensors}, key=_order)
        layers = tuple(
            (tensors[f"{stem}.weight"].astype(np.float64), tensors[f"{stem}.bias"].astype(np.float64)) for stem in stems
        )
        if not of_ours:
            return VectorHead(layers, classifier=False, name=path.stem, high=10.0)
        low, high = json.loads(facts["range"])
        activation: Any = facts["activation"]
        about = activation, bool(json.loads(facts["classifier"])), facts["backbone"], facts["name"], low, high
        return VectorHead(layers, *about, val[0].astype(np.float64), val[1])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} holds no head ({type(error).__name__}: {str(error)[:80]}): it needs a weight and a bias a layer."
        ) from None


def fit_head(
    vectors: NDArray[Any],
    positive: NDArray[np.bool_],
    val: NDArray[Any],
    val_positive: NDArray[np.bool_],
    *,
    name: str = "",
    backbone: str = "",
    seed: int = 0,
) -> VectorHead:
    """Fit a classifier of one layer: logistic regression, whose penalty is chosen by the AUC on parts left out.

    Args:
        vectors: (N, D) embeddings to fit on; they need not be normalised.
        positive: (N,) which of them are what the name says.
        val: (M, D) embeddings that it is checked on.
        val_positive: (M,) which of them are what the name says.
        name: what a high score says.
        backbone: fingerprint.
        seed: of the parts.

    Raises:
        DataError: fewer than ``LEAST`` pictures of a kind.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 4)); y = x[:, 0] > 0
        >>> head = fit_head(x[:100], y[:100], x[100:], y[100:])
        >>> head.dim, bool(((head.val > 0.5) == head.right).mean() > 0.9)
        (4, True)
    """
    with random_state_kept():
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score
        from sklearn.model_selection import StratifiedKFold

    for what, marks in (("fitted on", positive), ("checked on", val_positive)):
        few = min(int(marks.sum()), int((~marks).sum()))
        if few < LEAST:
            raise DataError(f"A head is {what} {LEAST} pictures of each kind at least, not {few}: label more.")
    x = vectors.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)
    parts = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, positive))

    def left_out(c: float) -> float:
        areas = []
        for fit, rest in parts:
            line = LogisticRegression(C=c, max_iter=2000).fit(x[fit], positive[fit])
            areas.append(roc_auc_score(positive[rest], line.decision_function(x[rest])))
        return float(np.mean(areas))

    best = max(PENALTIES, key=left_out)  # of equal ones the strongest penalty
    line = LogisticRegression(C=best, max_iter=2000).fit(x, positive)
    head = VectorHead(
        ((line.coef_.astype(np.float64), line.intercept_.astype(np.float64)),), backbone=backbone, name=name
    )
    return VectorHead(head.layers, backbone=backbone, name=name, val=head.scores(val), right=val_positive)


def _sigmoid(s: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(s))


def _order(stem: str) -> tuple[list[int], str]:
    return [int(n) for n in _NUMBER.findall(stem)], stem
