"""Estimators for scikit-learn's pipelines, grid searches and cross-validation.

make_pipeline(ImageEmbedder("lite"), LogisticRegression()).fit(photos, labels).predict(more_photos)
GridSearchCV(SystemClassifier(diptych.systems.LinearProbe(C=1.0)), {"system__C": [1.0, 10.0]}).fit(photos, labels)
EmbeddingClassifier().fit(vectors, labels).predict(more_vectors)
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch.nn.functional import normalize

from diptych.api.fitting import ClassifierSystem, System
from diptych.api.loading import model_of
from diptych.api.model import ModelLike
from diptych.core import UsageError
from diptych.core.wording import renamed
from diptych.nn.gaussian_discriminant import class_means, shrunk_discriminant
from diptych.nn.logistic import logistic_path

METHODS = ("gda", "linear-probe")


class EmbeddingClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A Gaussian discriminant or a logistic regression on unit embeddings, optionally added to the zero-shot
    classifier.

        logits = z W^T + b                               without a head
        logits = scale z head^T + alpha (z W^T + b)      with a head

    Args:
        method: "gda" (closed form, one shrunk covariance) or "linear-probe" (logistic regression with penalty 1 / C).
        head: (K, D) class embeddings of texts, in the order of the sorted labels; None: only labelled rows count.
        scale: of the cosines with the head: the backbone's own, ``float(backbone.scale()[0])``; 100 is CLIP's.
        alpha: weight of what is fitted, beside a head; 0.1 is the paper's default without a search.
        C: inverse penalty of the linear probe, above 0.
        c: the former name of ``C``, for one version.

    W, b: (K, D) weights and (K,) biases of what is fitted;  z: (N, D) normalised rows of X

    Source: GDA: Wang et al. 2024, section 3; linear probe: Radford et al. 2021, section 3.2.

    Differs: there are no views and no choice on val; search ``alpha`` and ``C`` with ``GridSearchCV``.
    """

    def __init__(
        self,
        method: str = "gda",
        *,
        head: ArrayLike | None = None,
        scale: float = 100.0,
        alpha: float = 0.1,
        C: float = 1.0,
        c: float | None = None,
    ) -> None:
        self.method = method
        self.head = head
        self.scale = scale
        self.alpha = alpha
        self.C = C
        self.c = c

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on (N, D) embeddings and their N labels.

        Raises:
            ValueError: fewer than two classes, an unknown method, a head of another size, or values that are not
                finite.
        """
        if np.asarray(X).dtype.kind in "US":
            raise ValueError(
                "X must be (N, D) embeddings, and holds texts: put an ImageEmbedder before this, "
                "make_pipeline(ImageEmbedder(), EmbeddingClassifier())."
            )
        x, targets = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(targets)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, and is {self.method!r}.")
        penalty = self.C if self.c is None else self.c
        if self.c is not None:
            renamed("EmbeddingClassifier(c=...)", "C=")
        if penalty <= 0:
            raise ValueError(f"C must lie above 0, and is {penalty}.")
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
            weight, bias = shrunk_discriminant(z, labels, means)
        else:
            ((weight, bias),) = logistic_path(z, labels, k, (penalty,))
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


class ImageEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Photos to embeddings, the first step of a pipeline. Nothing is fitted.

    Embeddings are stored in the model's cache, so that the folds of a search encode each photo once.

    Args:
        model: a name, a loaded model, or None for ``lite``.
        normalize: rows of length 1.
        batch_size: photos that are encoded at once, at least 1; None: as the model was loaded.

    Example:
        >>> from PIL import Image
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> photos = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "red", "blue")]
        >>> classifier = make_pipeline(ImageEmbedder("tiny"), LogisticRegression(C=1000))
        >>> classifier.fit(photos, ["r", "b", "r", "b"]).predict(photos[:2]).tolist()
        ['r', 'b']
    """

    def __init__(self, model: ModelLike = None, *, normalize: bool = True, batch_size: int | None = None) -> None:
        self.model = model
        self.normalize = normalize
        self.batch_size = batch_size

    def fit(self, X: object, y: object = None) -> Self:
        """Fit nothing."""
        return self

    def transform(self, X: object) -> NDArray[np.float32]:
        """Return the (N, D) float32 embeddings of N photos, in whatever form ``data.samples.as_samples`` takes them.

        Raises:
            UnreadableItem: a photo cannot be read.
            UsageError, DataError: these are no photos.
        """
        model = model_of(self.model)
        return np.asarray(model.encode_image(X, normalize=self.normalize, batch_size=self.batch_size))

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the names of the D columns."""
        return np.array([f"embedding{i}" for i in range(model_of(self.model).dim)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        return type(self)(**self.get_params(deep=False))  # the model is not copied


class SystemClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of ``diptych.systems`` on photos; a search sets its parameters as ``system__NAME``.

    Parameters that a search sets should not be None in the system: None is chosen inside ``fit``, on a part of the
    photos.

    Args:
        system: such as ``diptych.systems.GDA()``.
        model: a name, a loaded model, or None for ``lite``.
        names: of the K classes, for systems that read them, in the order of the labels where these are positions; None
            takes the labels, which are words.
        templates: prompts with "{}"; None: the ensemble of seven.
        texts: descriptions by class name, for systems that read them; the name of a pool that ships, or a file.
        unlabelled: photos without labels, for systems that learn from them.
        seed: of draws and trainings.

    Example:
        >>> import diptych
        >>> from PIL import Image
        >>> photos = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "red", "blue")]
        >>> classifier = SystemClassifier(diptych.systems.LinearProbe(C=1000.0), "tiny")
        >>> classifier.fit(photos, ["red", "blue", "red", "blue"]).predict(photos[:2]).tolist()
        ['red', 'blue']
        >>> classifier.set_params(system__C=1.0).system
        LinearProbe(C=1.0)
    """

    def __init__(
        self,
        system: ClassifierSystem,
        model: ModelLike = None,
        *,
        names: Any = None,
        templates: Any = None,
        texts: Any = None,
        unlabelled: Any = None,
        seed: int = 0,
    ) -> None:
        self.system = system
        self.model = model
        self.names = names
        self.templates = templates
        self.texts = texts
        self.unlabelled = unlabelled
        self.seed = seed

    def set_params(self, **params: Any) -> Self:
        """Set parameters; those of the system make another one, since a system does not change."""
        inner = {name.removeprefix("system__"): params.pop(name) for name in list(params) if "system__" in name[:8]}
        super().set_params(**params)
        if inner:
            self.system = type(self.system)(**{**self.system.get_params(), **inner})
        return self

    def fit(self, X: object, y: object) -> Self:
        """Fit on N photos and their N labels: names, or positions in ``names``, which are then predicted too.

        Raises:
            UsageError: ``system`` is no classifier of ``diptych.systems``.
            UsageError, DataError, MissingEvidence: as ``fit`` of the system does.
        """
        _refuse_others(self.system)
        self.predictor_ = self.system.fit(
            self.model, X, y, names=self.names, templates=self.templates, texts=self.texts, unlabelled=self.unlabelled,
            seed=self.seed,
        )  # fmt: skip
        classes = self.predictor_.classes_
        positions = np.asarray(y).dtype.kind in "iub"  # so that predictions compare with the labels that were given
        self.classes_: NDArray[Any] = np.arange(len(classes)) if positions else classes
        return self

    def predict(self, X: object) -> NDArray[Any]:
        """Return N class names, or positions where the labels of ``fit`` were positions."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.predictor_.predict(X)
        if self.classes_.dtype.kind == "i":
            place = {name: k for k, name in enumerate(self.predictor_.classes_.tolist())}
            labels = np.array([place[name] for name in labels.tolist()], dtype=np.int64)
        return labels

    def predict_proba(self, X: object) -> NDArray[np.float64]:
        """Return the (N, K) probabilities, in the order of ``classes_``."""
        check_is_fitted(self)
        return self.predictor_.predict_proba(X)

    def __sklearn_clone__(self) -> Self:
        return type(self)(**self.get_params(deep=False))  # systems do not change, and the model is not copied


def _refuse_others(system: object) -> None:
    """Refuse what is no classifier with its parameters, such as its slug or its class."""
    if isinstance(system, ClassifierSystem):
        return
    example = "system= takes a classifier with its parameters, such as diptych.systems.GDA()"
    if isinstance(system, System):
        kind = type(system).__name__
        raise UsageError(f"{example}, and {kind} is a system of {system.card.verb}.")
    what = f"the class {system.__name__}: add ()" if isinstance(system, type) else f"{system!r}"
    raise UsageError(f"{example}, not {what}.")


def _unit(x: NDArray[np.float64]) -> torch.Tensor:
    """Return unit rows; a copy, since the memory may be read-only."""
    return normalize(torch.from_numpy(np.array(x)), dim=-1)
