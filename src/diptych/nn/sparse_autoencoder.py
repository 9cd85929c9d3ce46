"""A sparse autoencoder rebuilds embeddings from more directions than dimensions, of which few are active at a time.

    f    = relu( W_e (x - b) + b_e );   xhat = W_d f + b
    loss = mean over j of (x_j - xhat_j)^2  +  lambda sum over k of |f_k|,     averaged over a batch

x: (n,) embedding, not normalised;  xhat: (n,) what is rebuilt
f: (m,) codes, >= 0
W_e, b_e: (m, n) and (m,), encoder
W_d, b: (n, m) and (n,), decoder; its columns have unit norm
lambda: sparsity
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Run
from diptych.core.ranges import above, at_least, check
from diptych.nn.descent import Adam, entropy_slope

SUBSET = 819_200
"""Images, at most, among which dead units look for those that the dictionary explains worst."""


@dataclass(frozen=True)
class SparseAutoencoder:
    """A fitted dictionary.

    Args:
        encoder: (m, n), W_e.
        encoder_bias: (m,), b_e.
        decoder: (n, m), W_d, unit columns.
        bias: (n,), b, subtracted from the input and added to the output.

    Example:
        >>> import torch
        >>> sae = SparseAutoencoder(torch.eye(2), torch.tensor([-0.5, 0.0]), torch.eye(2), torch.zeros(2))
        >>> sae.codes(torch.tensor([[0.4, 2.0]]))  # the bias keeps the first unit silent
        tensor([[0., 2.]])
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    bias: Tensor

    def codes(self, x: Tensor) -> Tensor:
        """Return f, (N, m), of (N, n) embeddings, which are not normalised."""
        return ((x - self.bias) @ self.encoder.T + self.encoder_bias).relu()

    def decoded(self, f: Tensor) -> Tensor:
        """Return xhat, (N, n), of (N, m) codes."""
        return f @ self.decoder.T + self.bias


@dataclass(frozen=True)
class Dictionary:
    """How a dictionary is learnt.

    Args:
        units: m, >= 1.
        sparsity: lambda, >= 0; a good value depends on n and on the length of the embeddings.
        epochs: passes over the embeddings, >= 0.
        rate: learning rate of Adam, > 0.
        batch: embeddings per step, at most, >= 1; few embeddings are cut into at least ``STEPS`` steps per epoch.
        resample: epochs, >= 0, after which units that never fired start again. The last so many epochs have no restart;
            0 means none at all.

    Raises:
        UsageError: a number is out of its range.
    """

    units: int
    sparsity: float
    epochs: int = 200
    rate: float = 5e-4
    batch: int = 4096
    resample: int = 10

    def __post_init__(self) -> None:
        check(self, at_least(1), "units", "batch")
        check(self, at_least(0), "sparsity", "epochs", "resample")
        check(self, above(0), "rate")


STEPS = 16
"""Steps of an epoch, at least."""


def initial(n: int, m: int, generator: torch.Generator) -> SparseAutoencoder:
    """Return the start: unit normal columns, Kaiming-uniform rows, b_e in +-1/sqrt(n), b = 0."""
    decoder = normalize(torch.randn(n, m, generator=generator), dim=0)
    encoder = (torch.rand(m, n, generator=generator) * 2 - 1) * math.sqrt(6 / n)
    return SparseAutoencoder(
        encoder, (torch.rand(m, generator=generator) * 2 - 1) / math.sqrt(n), decoder, torch.zeros(n)
    )


def losses(sae: SparseAutoencoder, x: Tensor, sparsity: float) -> Tensor:
    """Return the (N,) losses of (N, n) embeddings."""
    f = sae.codes(x)
    return (x - sae.decoded(f)).square().mean(dim=1) + sparsity * f.sum(dim=1)


def fit_dictionary(x: Tensor, settings: Dictionary, run: Run, purpose: str = "dictionary") -> SparseAutoencoder:
    """Learn a dictionary of embeddings with Adam.

    Args:
        x: (N, n) embeddings, not normalised.
        settings: size, sparsity and schedule.
        run: seed and progress.
        purpose: names the random stream.

    Source: Rao et al. 2024 (arXiv 2407.14499), section 3.1, with the resampling of dead units of its code.
    """
    g = run.generator(purpose)
    sae = initial(x.shape[1], settings.units, g)
    descents = [Adam(part) for part in (sae.encoder, sae.encoder_bias, sae.decoder, sae.bias)]
    batch = min(settings.batch, max(1, -(-len(x) // STEPS)))
    fired = torch.zeros(settings.units, dtype=torch.bool)
    with run.track("learn concepts", settings.epochs) as bar:
        # Not the one loop: gradients are projected before the step, Adam's moments of dead units are reset after an
        # epoch, and ``nn`` may not import ``train``.
        for epoch in range(settings.epochs):
            for rows in torch.split(torch.randperm(len(x), generator=g), batch):
                f, slopes = _slopes(sae, x[rows], settings.sparsity)
                for descent, slope in zip(descents, slopes, strict=True):
                    descent.step(slope, settings.rate)
                sae.decoder.copy_(normalize(sae.decoder, dim=0))
                fired |= (f > 0).any(dim=0)
            done = epoch + 1
            if settings.resample and done % settings.resample == 0:
                if done <= settings.epochs - settings.resample:
                    _resample(sae, x, ~fired, settings.sparsity, descents, g)
                fired.zero_()
            bar.advance()
    return sae


def _slopes(sae: SparseAutoencoder, x: Tensor, sparsity: float) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the codes (B, m) of a batch, and the gradients of its mean loss in the four parts, in their order.

    That of the decoder is without what lies along each column.
    """
    f = sae.codes(x)
    error = (sae.decoded(f) - x).mul_(2 / x.numel())
    hidden = (error @ sae.decoder).add_(sparsity / len(x)).mul_(f > 0)
    decoder, bias = error.T @ f, hidden.sum(dim=0)
    decoder -= sae.decoder * (decoder * sae.decoder).sum(dim=0)
    return f, (hidden.T @ (x - sae.bias), bias, decoder, error.sum(dim=0) - bias @ sae.encoder)


def _resample(
    sae: SparseAutoencoder, x: Tensor, dead: Tensor, sparsity: float, descents: Sequence[Adam], g: torch.Generator
) -> None:
    """Start dead units again, at embeddings drawn by their squared loss. Modified in place.

    Without enough embeddings some units stay dead.
    """
    subset = torch.randperm(len(x), generator=g)[:SUBSET]
    weights = losses(sae, x[subset], sparsity).double().square()
    units = dead.nonzero()[:, 0][: int((weights > 0).sum())]
    if not len(units):
        return
    chosen = x[subset[torch.multinomial(weights, len(units), generator=g)]]
    alive = sae.encoder[~dead]
    length = 0.2 * (alive.norm(dim=1).mean() if len(alive) else 1.0)
    directions = normalize(chosen, dim=1)
    sae.decoder[:, units] = directions.T
    sae.encoder[units] = directions * length
    sae.encoder_bias[units] = 0.0
    encoder, encoder_bias, decoder, _ = descents
    for moment in (encoder.mean, encoder.square, encoder_bias.mean, encoder_bias.square):
        moment[units] = 0.0
    for moment in (decoder.mean, decoder.square):
        moment[:, units] = 0.0


def probe(f: Tensor, y: Tensor, classes: int, rate: float, weight: float, epochs: int, run: Run) -> Tensor:
    """Train a sparse linear layer on concept strengths, and return its (K, m) weights W.

    Args:
        f: (N, m) concept strengths.
        y: (N,) int64 class positions.
        classes: K.
        rate: learning rate of Adam, on batches of 512.
        weight: lambda, of mean |W|.
        epochs: passes.
        run: seed of the order.
    """
    w = torch.zeros(classes, f.shape[1])
    descent, g = Adam(w), run.generator("dn-cbm/order")
    # Not the one loop, which drops the last part of a batch: a class may have all its shots in it.
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(f), generator=g), 512):
            part = f[rows]
            slope = entropy_slope(part @ w.T, y[rows]).T @ part
            descent.step(slope.add_(w.sign(), alpha=weight / w.numel()), rate)
    return w


def nearest_words(decoder: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (m,) position of the word nearest to each column of a decoder, and its (m,) cosine.

    Args:
        decoder: (D, m), unit columns.
        words: (V, D) unit embeddings.
    """
    best = [(words @ part).max(dim=0) for part in torch.split(decoder, 512, dim=1)]
    return torch.cat([b.indices for b in best]), torch.cat([b.values for b in best])


def count_for(shares: Tensor, part: float) -> Tensor:
    """Return how many of the largest shares sum to a part of their total, (N,) int64.

    It is at least 1, and 0 where all shares are 0.

    Args:
        shares: (N, m), >= 0.
        part: part of the total, in (0, 1].
    """
    cumulated = shares.double().sort(dim=1, descending=True).values.cumsum(dim=1)
    return (cumulated < part * cumulated[:, -1:]).sum(dim=1) + (cumulated[:, -1] > 0)
