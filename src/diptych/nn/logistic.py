"""Logistic regression on embeddings by L-BFGS, along a grid of penalties.

minimise over W, b:  1/N sum over i of CE(W z_i + b, y_i) + 1 / (2 C N) |W|^2
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

SMALL = 1 << 20
"""Products of an evaluation, N x D x K, below which one thread is used: several wait for each other longer than they
work, and on a busy machine ten times as long.
"""


def logistic_path(
    z: Tensor, y: Tensor, classes: int, grid: Sequence[float], steps: int = 1000
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the minimiser for each C in turn; each search starts from the last minimiser, the first from 0.

    Args:
        z: (N, D) embeddings.
        y: (N,) int64 class positions.
        classes: K.
        grid: values of C (scikit-learn's), > 0, ascending so that each start is near.
        steps: most L-BFGS iterations a value.

    Yields:
        W (K, D) and b (K,), float64. b is not penalised.
    """
    z = z.double()
    back: Tensor | None = None
    if len(z) < z.shape[1]:  # the penalty keeps W in the span of the rows, so N coordinates are enough
        back, upper = torch.linalg.qr(z.T)
        z = upper.T
    theta = torch.zeros(classes, z.shape[1] + 1, dtype=torch.float64, device=z.device)
    for c in grid:
        theta = _minimise(theta, z, y, 1.0 / (c * len(y)), steps)
        weight = theta[:, :-1].clone()
        yield (weight if back is None else weight @ back.T), theta[:, -1].clone()


def _minimise(start: Tensor, z: Tensor, y: Tensor, decay: float, steps: int) -> Tensor:
    theta, slope = start.clone(), torch.empty_like(start)
    rows = torch.arange(len(y), device=y.device)
    theta.grad = slope
    # Not the one loop: L-BFGS minimises a convex function of all rows at once, and draws no batch.
    solver = torch.optim.LBFGS(
        [theta], max_iter=steps, tolerance_grad=1e-7, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        log_p = torch.addmm(theta[:, -1:], theta[:, :-1], z.T).log_softmax(dim=0)  # (K, N): its products are faster
        entropy = -log_p[y, rows].mean()
        errors = log_p.exp_()
        errors[y, rows] -= 1
        errors /= len(y)
        torch.addmm(theta[:, :-1], errors, z, beta=decay, out=slope[:, :-1])
        torch.sum(errors, dim=1, out=slope[:, -1])
        return entropy + 0.5 * decay * theta[:, :-1].square().sum()

    with _threads(1 if z.numel() * len(start) < SMALL else torch.get_num_threads()):
        solver.step(loss)  # type: ignore[no-untyped-call]
    return theta


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
