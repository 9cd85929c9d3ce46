"""Two latent numbers that both predict a label, embedded so that one of them is easier to extract than the other.

    z | y ~ N(y mu, S),     mu_i = Phi^-1(rho_i),     S = [[1, c], [c, 1]],     y = -1 or +1, equally likely
    x     = f_s(a_s w_s z_s) + f_c(a_c w_c z_c)

z = (z_s, z_c): the shortcut and the core feature
rho_i: predictivity, the accuracy of sign(z_i) alone
c: covariance of the two within a class
w_s, w_c: (d,) random unit directions
a_s, a_c: amplifications; their product is 1, and their ratio is the availability of the shortcut
f_i: a fixed random network of eta_i layers; more layers make a feature harder to extract, 0 is the identity

Source: Hermann et al. 2024; the size of w and the layers of f are ours (see ``Latents``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core import UsageError
from diptych.core.ranges import above, at_least, between, check

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Embedding = Callable[[Floats], Floats]
"""(N, 2) latents -> (N, d) inputs."""


@dataclass(frozen=True)
class Latents:
    """The law of two latent features and of their embedding.

    A layer of f is ``tanh(sqrt(d) Q e) / sqrt(d)`` with a random orthogonal (d, d) matrix Q: the paper does not state
    its layers.

    Args:
        shortcut: rho_s, in (0, 1).
        core: rho_c, in (0, 1).
        covariance: c, in (-1, 1).
        ratio: a_s / a_c, > 0; above 1 the shortcut is the more available feature.
        nesting: layers (eta_s, eta_c), each >= 0.
        dimensions: d, >= 2.

    Raises:
        UsageError: a number is out of its range.

    Example:
        >>> law = Latents(shortcut=0.85, core=0.9)
        >>> z, y = law.draw(4000, np.random.default_rng(0))
        >>> print(f"{(np.sign(z[:, 1]) == y).mean():.2f}")
        0.90
        >>> law.embedding(np.random.default_rng(1))(z).shape
        (4000, 100)
    """

    shortcut: float = 0.85
    core: float = 0.9
    covariance: float = 0.6
    ratio: float = 1.0
    nesting: tuple[int, int] = (0, 0)
    dimensions: int = 100

    def __post_init__(self) -> None:
        check(self, between(0, 1, "()"), "shortcut", "core")
        check(self, between(-1, 1, "()"), "covariance")
        check(self, above(0), "ratio")
        check(self, at_least(2), "dimensions")
        if min(self.nesting) < 0:
            raise UsageError(f"nesting must be two numbers of layers, at least 0, got {self.nesting}.")

    @property
    def means(self) -> Floats:
        """Return mu, (2,)."""
        from scipy.special import ndtri

        return np.asarray(ndtri([self.shortcut, self.core]), dtype=np.float64)

    @property
    def scatter(self) -> Floats:
        """Return S, (2, 2)."""
        return np.array([[1.0, self.covariance], [self.covariance, 1.0]])

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
        """Return (n, 2) latents and their (n,) labels, -1 or +1."""
        labels = rng.choice(np.array([-1, 1], dtype=np.int64), n)
        noise = rng.standard_normal((n, 2)) @ np.linalg.cholesky(self.scatter).T
        return labels[:, None] * self.means + noise, labels

    def embedding(self, rng: np.random.Generator) -> Embedding:
        """Draw directions and networks, and return what embeds latents with them."""
        d = self.dimensions
        directions = rng.standard_normal((2, d))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        nets = [[np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(depth)] for depth in self.nesting]
        amplified = directions * np.sqrt([self.ratio, 1 / self.ratio])[:, None]

        def embed(z: Floats) -> Floats:
            total = np.zeros((len(z), d))
            for i, layers in enumerate(nets):
                e = z[:, i : i + 1] * amplified[i]
                for q in layers:
                    e = np.tanh(np.sqrt(d) * e @ q.T) / np.sqrt(d)
                total += e
            return total

        return embed

    def grid(self, points: int = 128) -> Floats:
        """Return (points (points + 2), 2) latents on an even grid over [-3 |mu_i|, 3 |mu_i|], none of them 0.

        The core has two points more, so that where both features predict alike no diagonal of the grid lies on the
        boundary of the best decisions. With 128 points the reliance of these is right to 0.007, with 32 to 0.04.

        Raises:
            UsageError: points are odd, or below 2: some latent would be 0 and have no sign; or a predictivity is 0.5,
                where the grid has no width.
        """
        if points < 2 or points % 2:
            raise UsageError(f"points must be an even number, at least 2, got {points}.")
        if not self.means.all():
            raise UsageError("A predictivity of 0.5 has a grid without width: give another.")
        s, c = (np.linspace(-3 * m, 3 * m, n) for m, n in zip(np.abs(self.means), (points, points + 2), strict=True))
        return np.stack(np.meshgrid(s, c, indexing="ij"), -1).reshape(-1, 2)
