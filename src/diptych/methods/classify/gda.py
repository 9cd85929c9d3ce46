"""GDA models each class as a Gaussian with one shared covariance, and adds it to the zero-shot classifier.

    mu_k   = mean of the x of class k                     not normalised again
    S      = 1/(n-1) sum (x - mu_y)^T (x - mu_y)          pooled covariance
    P      = D pinv( (n-1) S + tr(S) I )                  shrunk precision
    W, b   = mu P,  log(1/K) - 1/2 mu_k P mu_k^T
    logits = s z head^T + c  +  alpha (z W^T + b)

Sizes: N images to classify, n views of shots (labelled train images), K classes, D dimensions of the embeddings
x: (n, D) unit embeddings of the augmented views of all shots, one row a view
y: (n,) class positions of the rows of x;  n_k: number of rows of class k
mu: (K, D) class means;  S, P: (D, D)
W, b: (K, D) and (K,), weight and bias of the discriminant
z: (N, D) unit embeddings of the images to classify
head: (K, D) unit class embeddings of the text tower
s, c: scale and bias of the backbone's logits; c = 0 for softmax backbones
alpha: weight of the discriminant

The variant for base and new classes has shots of the base classes only. A new class j is known by its text vector t_j,
a (D,) row of head. W, b and logits are computed as above from these means and precisions:

    base   P    = pinv( mean over k of S_k )           S_k = 1/(n_k-1) sum over k's x of (x - mu_k)^T (x - mu_k)
    new    X_j  = the 64 x with the highest x t_j^T
           mu_j = mean of X_j and 16 copies of t_j
           C_j  = 1/63 sum over X_j of (x - t_j)^T (x - t_j)
           P    = D mean over j of pinv( 63 C_j + tr(C_j) I )

S_k: (D, D) covariance of base class k, not shrunk
C_j: (D, D) spread of the 64 nearest views about the text vector, not about mu_j
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    Run,
    Samples,
    Scores,
)
from diptych.core.ranges import at_least, check
from diptych.data.evidence import held_out, shots
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.nn.gaussian_discriminant import (
    class_means,
    discriminant,
    mean_covariance,
    named_discriminant,
    plain_precision,
    shrunk_discriminant,
)
from diptych.nn.mixing import first_best, hits

ALPHAS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
"""Values of alpha that are tried on val."""


@dataclass(frozen=True)
class GDA(Classifier):
    """Add a Gaussian discriminant of the shots to the zero-shot classifier.

    Args:
        alpha: weight of the discriminant, >= 0; 0.1 is the paper's value where none is searched. None: chosen on val
            from 1e-4, 1e-3 .. 100.
        views: augmented views of each shot, >= 1, each a sample of its own (default 10, the authors').
        base_to_new: fit the paper's variant for base and new classes. The fitted object then keeps all views (n x D
            floats, in an export too), and its ``for_classes`` takes names of classes without any photo.

    Raises:
        UsageError: alpha is below 0, or views is below 1.

    Source: Wang et al. 2024, section 3 (discriminant, ensemble with the zero-shot classifier, new classes); 64 and 16
        are from its code.

    Example:
        >>> import torch
        >>> from diptych.nn.gaussian_discriminant import class_means, shrunk_discriminant
        >>> y = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> x = torch.nn.functional.normalize(2 * torch.eye(8)[y] + noise, dim=1)  # three classes round three axes
        >>> means = class_means(x, y, classes=3)
        >>> weight, bias = shrunk_discriminant(x, y, means)
        >>> predicted = (x.double() @ weight.T + bias).argmax(dim=1)
        >>> weight.shape, float((predicted == y).double().mean()) > 0.9
        (torch.Size([3, 8]), True)
    """

    alpha: float | None = None
    views: int = 10
    base_to_new: bool = False

    def __post_init__(self) -> None:
        check(self, at_least(0), "alpha")
        check(self, at_least(1), "views")

    def transferable(self) -> GDA:
        """Return the variant for base and new classes."""
        return replace(self, base_to_new=True)

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedGDA:
        """Fit means and covariance on the views of train.

        A missing alpha is the one with the best val accuracy; of ties the smallest wins.

        Raises:
            MissingEvidence: train is missing, or val is missing and alpha was not given.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        train, labels = shots(evidence, classes)
        val = held_out(evidence, classes, choosing="alpha") if self.alpha is None else None

        head = text_head(backbone, classes.prompts(), run)
        views = embed(backbone.image, train.items, run, views=replace(TIP_VIEWS, draws=self.views))
        x, y = normalize(views, dim=-1).flatten(0, 1), torch.tensor(labels).repeat_interleave(views.shape[1])
        weight, bias = run.once(
            f"gda, {self.views} views, base_to_new {self.base_to_new}", lambda: self._discriminant(x, y, len(classes))
        )

        alphas = ALPHAS if self.alpha is None else (self.alpha,)
        best = 0
        if val is not None:
            z = normalize(embed(backbone.image, val[0].items, run), dim=-1)
            (best,) = first_best(
                hits(logits(backbone, z, head), z @ weight.T + bias, torch.tensor(val[1]), torch.tensor(alphas))
            )
        fitted = FittedGDA(classes, backbone, head, weight, bias, alphas[best])
        return BaseGDA(**vars(fitted), views=x) if self.base_to_new else fitted

    def _discriminant(self, x: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Return W (K, D) and b (K,), float32, of (n, D) unit samples."""
        means = class_means(x, y, classes)
        weight, bias = (
            discriminant(means, plain_precision(mean_covariance(x, y, means)))
            if self.base_to_new
            else shrunk_discriminant(x, y, means)
        )
        return weight.float(), bias.float()


@dataclass(frozen=True)
class FittedGDA(FittedClassifier):
    """A text head and a Gaussian discriminant.

    Args:
        head: (K, D) unit class embeddings.
        weight: (K, D), W.
        bias: (K,), b.
        alpha: weight of the discriminant.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    weight: Tensor
    bias: Tensor
    alpha: float

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits: zero-shot plus alpha times the discriminant."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        return Scores(logits(self.backbone, z, self.head) + self.alpha * (z @ self.weight.T + self.bias), "logit")


@dataclass(frozen=True)
class BaseGDA(FittedGDA):
    """The fitted base classes of the variant for base and new classes.

    Args:
        classes, backbone, head, weight, bias, alpha: as in ``FittedGDA``.
        views: (n, D) unit samples of all base classes.
    """

    views: Tensor

    def for_classes(self, classes: ClassNames) -> NewGDA:
        """Return the classifier of other classes, which are known by their names alone."""
        return NewGDA(classes, self.backbone, self.views, self.alpha)


@dataclass(frozen=True)
class NewGDA(FittedClassifier):
    """New classes, each modelled by its name and the views nearest to it; ``scores`` embeds the names.

    Args:
        classes: K names.
        backbone: embeds images and names.
        views: (n, D) unit samples of other classes.
        alpha: weight of the discriminant, as chosen on the base classes.
    """

    classes: ClassNames
    backbone: Backbone
    views: Tensor
    alpha: float

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits: zero-shot plus alpha times the discriminant of the names."""
        head = text_head(self.backbone, self.classes.prompts(), run)
        weight, bias = (t.float() for t in named_discriminant(self.views, head))
        return FittedGDA(self.classes, self.backbone, head, weight, bias, self.alpha).scores(items, run)
