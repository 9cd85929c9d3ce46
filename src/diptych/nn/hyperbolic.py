"""The Poincare ball of curvature -c: points are vectors of norm below 1/sqrt(c), and distances grow towards its edge.

    x (+) y    = [(1 + 2c<x,y> + c|y|^2) x + (1 - c|x|^2) y] / [1 + 2c<x,y> + c^2 |x|^2 |y|^2]
    exp_b(v)   = b (+) tanh(sqrt(c) lambda_b |v| / 2) v / (sqrt(c) |v|),   lambda_b = 2 / (1 - c|b|^2)
    d(x, y)    = 2/sqrt(c) artanh(sqrt(c) |(-x) (+) y|)
    logit_k(y) = lambda_p |a|/sqrt(c) asinh(2 sqrt(c) <u,a> / ((1 - c|u|^2) |a|)),   u = (-p) (+) y

x, y, b: points of the ball, (..., D);  (+): Moebius addition
v: tangent vector at b;  exp_b: the point that it leads to;  lambda_b: conformal factor
d: geodesic distance
p, a: a point of hyperplane k and its normal there; the logit is the scaled signed distance of y

All functions take c > 0 and tensors (..., D).

Source: Ganea et al. 2018, sections 2 and 3.1.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

_EDGE = 1e-3  # points stay this share of the radius inside the ball
_TINY = 1e-5  # norms and denominators are kept above it


def mobius_add(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Return x (+) y. It is not commutative; x (+) 0 = 0 (+) x = x."""
    xy, xx, yy = (x * y).sum(-1, keepdim=True), (x * x).sum(-1, keepdim=True), (y * y).sum(-1, keepdim=True)
    return ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy).clamp_min(_TINY)


def into_ball(x: Tensor, c: float) -> Tensor:
    """Return x, shortened to a norm of at most (1 - 1e-3) / sqrt(c)."""
    most = (1 - _EDGE) / c**0.5
    norm = x.norm(dim=-1, keepdim=True).clamp_min(_TINY)
    return torch.where(norm > most, x / norm * most, x)


def clipped(x: Tensor, radius: float) -> Tensor:
    """Return x min(1, radius / |x|); without it points reach the edge, where gradients vanish."""
    out: Tensor = x * (radius / (x.norm(dim=-1, keepdim=True) + _TINY)).clamp_max(1.0)
    return out


def exponential(v: Tensor, base: Tensor, c: float) -> Tensor:
    """Return exp_base(v), in the ball; ``base`` is broadcast."""
    norm = v.norm(dim=-1, keepdim=True).clamp_min(_TINY)
    factor = 2 / (1 - c * (base * base).sum(-1, keepdim=True)).clamp_min(_TINY)
    return into_ball(mobius_add(base, torch.tanh(c**0.5 * factor * norm / 2) * v / (c**0.5 * norm), c), c)


def distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Return the (...) geodesic distances of (..., D) points."""
    apart = (c**0.5 * mobius_add(-x, y, c).norm(dim=-1)).clamp_max(1 - _TINY)
    out: Tensor = 2 / c**0.5 * torch.atanh(apart)
    return out


def plane_logits(y: Tensor, points: Tensor, normals: Tensor, c: float) -> Tensor:
    """Return the (N, K) scaled signed distances of points of the ball to K hyperplanes.

    Args:
        y: (N, D) points.
        points: (K, D) points on the planes.
        normals: (K, D), at those points; their length is the scale.
        c: curvature, > 0.
    """
    u = mobius_add(-points, y[:, None], c)
    length = normals.norm(dim=-1).clamp_min(_TINY)
    factor = 2 / (1 - c * (points * points).sum(-1)).clamp_min(_TINY)
    inside = 2 * c**0.5 * (u * normals).sum(-1) / ((1 - c * (u * u).sum(-1)).clamp_min(_TINY) * length)
    out: Tensor = factor * length / c**0.5 * torch.asinh(inside)
    return out


class _Riemannian(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, c: float) -> Tensor:
        ctx.save_for_backward(y)
        ctx.c = c
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return gradients[0] * (1 - ctx.c * (y * y).sum(-1, keepdim=True)) ** 2 / 4, None


def riemannian(y: Tensor, c: float) -> Tensor:
    """Return y unchanged; its gradient is multiplied by (1 - c|y|^2)^2 / 4, the inverse metric at y."""
    unchanged: Tensor = _Riemannian.apply(y, c)  # type: ignore[no-untyped-call]
    return unchanged


Geometry = Literal["hyperbolic", "euclidean"]


PairDistance = Literal["artanh", "atan"]
"""Distance that pulls pairs together: the true one, or the authors' with atan in place of artanh."""


class HypOCHead(nn.Module):
    """The trained part: layers with ReLU after each, the map to the ball, and two planes.

    Args:
        dim: D of the features.
        widths: of the layers; the last one is W.
        geometry: "hyperbolic", or "euclidean": there is no ball.
        curvature: c, > 0.
        radius: norm to which vectors are clipped before the ball, > 0.
    """

    def __init__(self, dim: int, widths: tuple[int, ...], geometry: Geometry, curvature: float, radius: float) -> None:
        super().__init__()
        sizes = (dim, *widths)
        self.net = nn.Sequential(
            *(part for a, b in zip(sizes, widths, strict=False) for part in (nn.Linear(a, b), nn.ReLU()))
        )
        self.base = nn.Parameter(torch.zeros(widths[-1]))  # tangent vector at 0, as are the points
        self.points, self.normals = (nn.Parameter(torch.empty(2, widths[-1])) for _ in range(2))
        for plane in (self.points, self.normals):
            nn.init.kaiming_uniform_(plane, a=5**0.5)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.geometry, self.curvature, self.radius = geometry, curvature, radius

    def forward(self, f: Tensor) -> Tensor:
        """Return (N, W) points of (N, D) features.

        They are in the ball or, for the Euclidean variant, where the layers put them.
        """
        if self.geometry == "euclidean":
            out: Tensor = self.net(f)
            return out
        c = self.curvature
        base = exponential(self.base, torch.zeros_like(self.base), c)
        return riemannian(exponential(clipped(self.net(f), self.radius), base, c), c)

    def logits(self, y: Tensor) -> Tensor:
        """Return (N, 2) logits of (N, W) points: real, pseudo-negative."""
        if self.geometry == "euclidean":
            flat: Tensor = (y[:, None] - self.points).mul(self.normals).sum(-1)
            return flat
        c = self.curvature
        points = exponential(self.points, torch.zeros_like(self.base), c)
        return plane_logits(y, points, self.normals * (1 - c * (points * points).sum(-1, keepdim=True)), c)


def pair_distance(x: Tensor, y: Tensor, curvature: float, pairs: PairDistance) -> Tensor:
    """Return the (B,) distances of pairs in the ball.

    Args:
        x: (B, W) points.
        y: (B, W) points.
        curvature: c, > 0.
        pairs: with "atan", the authors' slip, distances are bounded and pull weakly far apart.
    """
    d, root = distance(x, y, curvature), math.sqrt(curvature)
    return d if pairs == "artanh" else 2 / root * torch.atan(torch.tanh(d * root / 2))
