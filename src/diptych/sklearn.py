"""Few-shot heads on features as a scikit-learn estimator: for pipelines, grid searches and cross-validation.

X = diptych.features.embed.embed(backbone.image, photos, run).numpy()
EmbeddingClassifier().fit(X, y).predict(X_new)
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch.nn.functional import normalize

from diptych.nn.gaussian_discriminant import class_means, discriminant, pooled_scatter, shrunk_precision
from diptych.nn.logistic import logistic_path

METHODS = ("gda", "linear-probe")


class EmbeddingClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A Gaussian discriminant or a logistic regression on unit embeddings, optionally added to the zero-shot
    classifier.

        logits = z W^T + b                               without a head
        logits = scale z head^T + alpha (z W^T + b)      with a head

    Args:
        method: "gda" (closed form, one shrunk covariance) or "linear-probe" (logistic regression with penalty 1 / c).
        head: (K, D) class embeddings of texts, in the order of the sorted labels; None: only labelled rows count.
        scale: of the cosines with the head: the backbone's own, ``float(backbone.scale()[0])``; 100 is CLIP's.
        alpha: weight of what is fitted, beside a head; 0.1 is the paper's default without a search.
        c: inverse penalty of the linear probe, above 0.

    W, b: (K, D) weights and (K,) biases of what is fitted;  z: (N, D) normalised rows of X

    Source: GDA: Wang et al. 2024, section 3; linear probe: Radford et al. 2021, section 3.2.

    Differs: there are no views and no choice on val; search ``alpha`` and ``c`` with ``GridSearchCV``.
    """

    def __init__(
        self,
        method: str = "gda",
        *,
        head: ArrayLike | None = None,
        scale: float = 100.0,
        alpha: float = 0.1,
        c: float = 1.0,
    ) -> None:
        self.method = method
        self.head = head
        self.scale = scale
        self.alpha = alpha
        self.c = c

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on (N, D) embeddings and their N labels.

        Raises:
            ValueError: fewer than two classes, an unknown method, a head of another size, or values that are not
                finite.
        """
        x, targets = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(targets)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, and is {self.method!r}.")
        if self.c <= 0:
            raise ValueError(f"c must lie above 0, and is {self.c}.")
        self.classes_, codes = np.unique(targets, return_inverse=True)
        k = len(self.classes_)
        if k < 2:
            raise ValueError("A classifier needs at least two classes, and y holds only one class.")
        if self.head is not None and np.shape(self.head) != (k, x.shape[1]):
            raise ValueError(
                f"head must be {(k, x.shape[1])}, a row for each of the sorted labels, and is {np.shape(self.head)}."
            )
        z, labels = _unit(x), torch.from_numpy(codes.astype(np.int64))
        if self.method == "gda":
            means = class_means(z, labels, k)
            weight, bias = discriminant(means, shrunk_precision(pooled_scatter(z, labels, means), len(z)))
        else:
            ((weight, bias),) = logistic_path(z, labels, k, (self.c,))
        self.coef_: NDArray[np.float64] = weight.double().numpy()
        self.intercept_: NDArray[np.float64] = bias.double().numpy()
        if self.head is not None:
            head = _unit(check_array(self.head, dtype=np.float64)).numpy()
            self.coef_, self.intercept_ = self.scale * head + self.alpha * self.coef_, self.alpha * self.intercept_
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the (N, K) logits; (N,) of the second class against the first where there are two."""
        logits = self._logits(X)
        return logits if logits.shape[1] > 2 else logits[:, 1] - logits[:, 0]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the (N, K) softmax of the logits."""
        return torch.from_numpy(self._logits(X)).softmax(dim=1).numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the N labels."""
        logits = self._logits(X)
        labels: NDArray[Any] = self.classes_[logits.argmax(axis=1)]
        return labels

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:
        check_is_fitted(self)
        z = _unit(validate_data(self, X, dtype=np.float64, reset=False)).numpy()
        logits: NDArray[np.float64] = np.einsum("nd,kd->nk", z, self.coef_) + self.intercept_
        return logits


def _unit(x: NDArray[np.float64]) -> torch.Tensor:
    """Return unit rows; a copy, since the memory may be read-only."""
    return normalize(torch.from_numpy(np.array(x)), dim=-1)
