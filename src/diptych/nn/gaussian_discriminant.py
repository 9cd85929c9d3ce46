"""Gaussian classes with one shared covariance: means, precisions, and the discriminant, in closed form (GDA).

    S      = 1/(n-1) sum (x - mu_y)^T (x - mu_y)          pooled covariance
    P      = D pinv( (n-1) S + tr(S) I )                  shrunk precision
    W, b   = mu P,  log(1/K) - 1/2 mu_k P mu_k^T

Of a class j that is known by its text vector t_j alone:

    X_j    = the 64 x with the highest x t_j^T
    mu_j   = mean of X_j and 16 copies of t_j
    C_j    = 1/63 sum over X_j of (x - t_j)^T (x - t_j)
    P      = D mean over j of pinv( 63 C_j + tr(C_j) I )

x: (n, D) samples with (n,) class positions y;  mu: (K, D) class means;  S, P, C_j: (D, D);  W, b: (K, D) and (K,)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diptych.core import UsageError
from diptych.nn.ridge import ridge_inverse

NEAREST = 64
"""Views that represent a new class: those nearest to its text vector."""
COPIES = 16
"""Copies of the text vector that join them in the class mean."""
ROUNDING = 1e-14
"""Variance below which only rounding is left; its inverse would be noise."""


def class_means(x: Tensor, y: Tensor, classes: int) -> Tensor:
    """Return the (K, D) float64 means of (n, D) samples by their (n,) class positions; every class must occur."""
    sums = torch.zeros(classes, x.shape[1], dtype=torch.float64, device=x.device).index_add_(0, y, x.double())
    return sums / torch.bincount(y, minlength=classes)[:, None]


def pooled_scatter(x: Tensor, y: Tensor, means: Tensor, rows: int = 8192) -> Tensor:
    """Return (n-1) S, the (D, D) float64 scatter of the samples about their class means.

    Args:
        x: (n, D) samples.
        y: (n,) class positions.
        means: (K, D) class means.
        rows: samples per step, which bounds the memory.
    """
    scatter = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for part, labels in zip(torch.split(x, rows), torch.split(y, rows), strict=True):
        centred = part.double() - means[labels]
        scatter.addmm_(centred.T, centred)
    return scatter


def shrunk_precision(scatter: Tensor, n: int) -> Tensor:
    """Return the precision ``D ((n-1) S + tr(S) I)^-1`` of Kubokawa and Srivastava's empirical Bayes estimate.

    It equals D / (D+n-1) times the inverse of ``(1-r) S + r tr(S)/D I`` with r = D / (D+n-1): the weight r of the
    shrinkage falls with n. The matrix is positive definite unless S is 0, so the pseudo-inverse is a Cholesky solve.

    Args:
        scatter: (D, D) float64, (n-1) S.
        n: number of samples.

    Returns:
        (D, D) float64. It is 0 where the samples do not vary within their class, as with one view of one shot.
    """
    size = len(scatter)
    trace = scatter.diagonal().sum() / max(1, n - 1)
    if trace < ROUNDING:
        return torch.zeros_like(scatter)
    factor = torch.linalg.cholesky(scatter + trace * torch.eye(size, dtype=scatter.dtype, device=scatter.device))
    return size * torch.cholesky_inverse(factor)


def discriminant(means: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
    """Return W (K, D) and b (K,) of Bayes' rule for (K, D) means, one (D, D) precision and equal priors."""
    weight = means @ precision
    return weight, -math.log(len(means)) - 0.5 * (weight * means).sum(dim=1)


def shrunk_discriminant(x: Tensor, y: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """Return W (K, D) and b (K,), float64, of ``discriminant`` under the ``shrunk_precision`` of the samples.

    Of fewer samples than dimensions only an (n, n) system is solved, by Woodbury's identity. The result is the same up
    to rounding.

    Args:
        x: (n, D) samples.
        y: (n,) class positions.
        means: (K, D) float64 class means.

    Example:
        >>> import torch
        >>> x, y = torch.eye(4, 100, dtype=torch.float64), torch.tensor([0, 0, 1, 1])
        >>> means = class_means(x, y, 2)
        >>> weight, _ = shrunk_discriminant(x, y, means)
        >>> torch.allclose(weight, means @ shrunk_precision(pooled_scatter(x, y, means), n=4))
        True
    """
    n, size = x.shape
    if n >= size:
        return discriminant(means, shrunk_precision(pooled_scatter(x, y, means), n))
    centred = x.double() - means[y]
    trace = centred.square().sum() / max(1, n - 1)
    if trace < ROUNDING:
        weight = torch.zeros_like(means)
    else:
        inner = centred @ centred.T
        inner.diagonal().add_(trace)
        shares = torch.cholesky_solve(centred @ means.T, torch.linalg.cholesky(inner))  # (n, K)
        weight = size / trace * (means - shares.T @ centred)
    return weight, -math.log(len(means)) - 0.5 * (weight * means).sum(dim=1)


def mean_covariance(x: Tensor, y: Tensor, means: Tensor) -> Tensor:
    """Return the (D, D) float64 mean of the class covariances; that of a class of one sample is 0.

    Args:
        x: (n, D) samples.
        y: (n,) class positions.
        means: (K, D) class means.
    """
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for k, mean in enumerate(means):
        centred = x[y == k].double() - mean
        total.addmm_(centred.T, centred, alpha=1 / max(1, len(centred) - 1))
    return total / len(means)


def plain_precision(covariance: Tensor) -> Tensor:
    """Return the (D, D) pseudo-inverse of a (D, D) float64 covariance; 0 where there is no variance.

    Variances below D times float32's epsilon of the largest count as 0, as in the authors' fp32 pseudo-inverse. Views
    of few shots hardly vary in most directions (those of 20 classes, 4 shots each, in all but 677 of 2,664), and a
    float64 inverse would amplify their noise.
    """
    inverse: Tensor = torch.linalg.pinv(
        covariance, atol=ROUNDING, rtol=len(covariance) * torch.finfo(torch.float32).eps, hermitian=True
    )
    return inverse


def named_discriminant(x: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
    """Return W (K, D) and b (K,), float64, of classes that are known by their text vectors alone.

    Args:
        x: (n, D) unit samples of other classes, n >= 1. Where n < 64, all of them are the nearest of every class.
        head: (K, D) unit class embeddings.

    Raises:
        UsageError: there is no sample.
    """
    if not len(x):
        raise UsageError(
            "GDA models a new class by the views nearest to its name, and there are 0 views: fit it on at least one "
            "photo."
        )
    k, size = min(NEAREST, len(x)), x.shape[1]
    means, precision = [], torch.zeros(size, size, dtype=torch.float64, device=x.device)
    for t in head:
        near = x[(x @ t).topk(k).indices].double()
        means.append((near.sum(dim=0) + COPIES * t) / (k + COPIES))
        trace = float((near - t).square().sum()) / max(1, k - 1)
        if trace > ROUNDING:
            precision += size * ridge_inverse(near - t, trace)
    return discriminant(torch.stack(means), precision / len(head))
