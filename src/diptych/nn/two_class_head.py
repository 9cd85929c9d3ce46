"""Small classifiers of two classes: logistic regression to convergence, or a network of a few hidden layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diptych.core.ranges import above, at_least, check, one_of
from diptych.data.draws import random_state_kept

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Decide = Callable[[Floats], Ints]
"""(N, D) inputs -> (N,) decisions -1 or +1."""


@dataclass(frozen=True)
class Head:
    """A classifier of two classes on given inputs.

    Args:
        depth: hidden layers, >= 0; 0 is logistic regression, minimised to convergence by L-BFGS.
        activation: "relu", "tanh", or "identity" for a linear network.
        width: of each hidden layer, >= 1; 128 (ours).
        epochs: of Adam at 1e-3 with batches of 64, for networks, >= 1; 30 (ours).
        c: inverse of the L2 penalty of logistic regression, > 0; infinity (default): no penalty, which the invariance
            to availability needs.

    Raises:
        UsageError: a number is out of its range, or the activation is unknown.

    Example:
        >>> x = np.array([[-2.0, 0.3], [-1.0, -0.4], [1.0, 0.2], [2.0, -0.1], [-0.2, 0.0], [0.1, 0.0]])
        >>> Head(c=1.0).fit(x, np.array([-1, -1, 1, 1, 1, -1]), 0)(x).tolist()
        [-1, -1, 1, 1, -1, 1]
    """

    depth: int = 0
    activation: Literal["relu", "tanh", "identity"] = "relu"
    width: int = 128
    epochs: int = 30
    c: float = float("inf")

    def __post_init__(self) -> None:
        check(self, at_least(0), "depth")
        check(self, at_least(1), "width", "epochs")
        check(self, above(0), "c")
        check(self, one_of("relu", "tanh", "identity"), "activation")

    def fit(self, x: Floats, y: Ints, seed: int) -> Decide:
        """Train on (N, D) inputs and (N,) labels -1 or +1, and return what decides about further inputs."""
        with random_state_kept():
            from sklearn.linear_model import LogisticRegression
            from sklearn.neural_network import MLPClassifier

        if not self.depth:
            line = LogisticRegression(C=self.c, tol=1e-10, max_iter=10_000).fit(x, y)
            return lambda probes: _sides(line.decision_function(probes))
        net = MLPClassifier(
            (self.width,) * self.depth, activation=self.activation, alpha=0.0, batch_size=min(64, len(x)),
            learning_rate_init=1e-3, random_state=seed,
        )  # fmt: skip
        single = x.astype(np.float32)  # float32 halves the time; partial_fit is one epoch
        for _ in range(self.epochs):
            net.partial_fit(single, y, classes=np.array([-1, 1]))
        return lambda probes: _sides(net.predict_proba(probes.astype(np.float32))[:, 1] - 0.5)


def _sides(margins: Floats) -> Ints:
    return np.where(margins >= 0, 1, -1).astype(np.int64)


Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Cued:
    """Features of pictures of two classes, each with both squares.

    Args:
        features: (2, N, D), with the orange and with the blue square.
        core: (N,) -1 or +1, which class.
        train: (N,) mask of the pictures on which heads are trained; the others are probes.
    """

    features: Floats
    core: Ints
    train: Bools

    def decisions(self, head: Head, shortcut: float, core: float, seed: int) -> Ints:
        """Train a head on one draw, and return its (2, P) decisions about the P probes with both squares.

        Args:
            head: what is trained.
            shortcut: share of training pictures whose square agrees with the label.
            core: share of training pictures whose class agrees with the label.
            seed: of labels, squares and weights. Labels do not depend on ``shortcut``.
        """
        rng, rows = np.random.default_rng(seed), np.flatnonzero(self.train)
        labels = self.core[rows] * np.where(rng.random(len(rows)) < core, 1, -1)
        squares = labels * np.where(rng.random(len(rows)) < shortcut, 1, -1)
        decide = head.fit(self.features[(squares > 0).astype(int), rows], labels, seed)
        return np.stack([decide(square[~self.train]) for square in self.features])

    def reliance(self, decisions: Ints) -> Floats:
        """Return (P,) values y' s - y' c of (2, P) decisions, averaged over both squares; in [-1, 1]."""
        squares = np.array([[-1], [1]])
        return np.asarray((decisions * squares - decisions * self.core[~self.train]).mean(axis=0), dtype=np.float64)

    def followed(self, decisions: Ints) -> float:
        """Return the share of decisions for the square among the cases in which square and class disagree."""
        squares = np.array([[-1], [1]])
        return float((decisions == squares)[squares != self.core[~self.train]].mean())
