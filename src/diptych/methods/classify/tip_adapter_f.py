"""Tip-Adapter-F trains the keys of Tip-Adapter's cache for a few epochs; text head and labels stay frozen.

    logits = s z head^T + b  +  alpha exp(-beta (1 - z F^T)) L
    minimise over F   cross-entropy(logits, y)        on one augmented view of every shot an epoch

Sizes: B views per batch, M shots (labelled train images), K classes, D dimensions of the embeddings
F: (M, D) keys, which start as Tip-Adapter's, one a shot
L: (M, K) one-hot labels of the keys
z: (B, D) unit embeddings of the views in a batch;  y: (B,) their class positions
head: (K, D) unit class embeddings of the text tower
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
alpha, beta: weight and sharpness of the vote
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.core import Backbone, Classifier, ClassNames, Evidence, Kit, Run
from diptych.core.ranges import at_least, check
from diptych.features.heads import logits
from diptych.nn.cache_model import FittedCache, affinity, cache_keys, fit_cache
from diptych.nn.descent import Adam, along_cosine, entropy_slope


@dataclass(frozen=True)
class TipAdapterF(Classifier):
    """Train the keys of a cache, then choose weight and sharpness of its vote.

    Args:
        alpha: weight of the vote when scoring, >= 0. None: chosen on val after training.
        beta: sharpness of the vote when scoring, >= 0. None: chosen on val after training.
        start: (alpha, beta) while training. The default is the authors' for ImageNet, Food101, Pets and SUN397.
        search: where the search of (beta, alpha) ends, as for Tip-Adapter.
        views: augmented views of each shot, >= 1 (default 10, the authors'). They make the keys, and epoch e trains on
            view e modulo views.
        epochs: passes over the shots, >= 0 (default 20, the paper's; the authors take 100 for EuroSAT).
        rate: learning rate of AdamW at the start; it falls to 0 along a cosine, step by step.
        batch: shots per step, >= 1 (default 256, the authors').

    Raises:
        UsageError: alpha, beta or epochs is below 0, or views or batch is below 1.

    Source: Zhang et al. 2022, section 3.2.

    Example:
        >>> import torch
        >>> from diptych.nn.cache_model import cache_keys, cache_logits
        >>> y = torch.arange(20) % 2
        >>> shots = torch.randn(20, 1, 8, generator=torch.Generator().manual_seed(0))  # 20 shots, one view each
        >>> keys = cache_keys(shots).requires_grad_()
        >>> loss = torch.nn.functional.cross_entropy(cache_logits(cache_keys(shots), keys, y, 2, beta=1.0), y)
        >>> loss.backward()  # the keys learn, the labels do not
        >>> keys.grad.shape
        torch.Size([20, 8])
    """

    alpha: float | None = None
    beta: float | None = None
    start: tuple[float, float] = (1.17, 1.0)
    search: tuple[float, float] = (7.0, 3.0)
    views: int = 10
    epochs: int = 20
    rate: float = 1e-3
    batch: int = 256

    def __post_init__(self) -> None:
        check(self, at_least(1), "views", "batch")
        check(self, at_least(0), "alpha", "beta", "epochs")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCache:
        """Train the keys on train, then choose alpha and beta; see ``fit_cache`` for what is chosen and raised."""
        settings = self.start, self.views, self.epochs, self.rate, self.batch

        def trained(backbone: Backbone, head: Tensor, views: Tensor, y: Tensor) -> Tensor:
            return run.once(f"tip-adapter-f {settings}", lambda: self._trained(backbone, head, views, y, run))

        return fit_cache(
            kit, classes, evidence, run, alpha=self.alpha, beta=self.beta, search=self.search, views=self.views,
            trained=trained,
        )  # fmt: skip

    def _trained(self, backbone: Backbone, head: Tensor, views: Tensor, y: Tensor, run: Run) -> Tensor:
        """Return the (M, D) keys after training on (M, A, D) views with their (M,) labels."""
        alpha, beta = self.start
        keys = cache_keys(views)
        values = one_hot(y, len(head)).to(keys.dtype)
        steps = self.epochs * -(-len(y) // self.batch)
        descent = Adam(keys, epsilon=1e-4, decay=0.01)
        generator = run.generator("tip-adapter-f/order")
        with run.track("train keys", steps) as bar:
            # Not the one loop: all rows of an epoch take the same view, and the last part of a batch counts.
            for epoch in range(self.epochs):
                z = normalize(views[:, epoch % views.shape[1]], dim=-1)
                zero_shot = logits(backbone, z, head)
                for rows in torch.split(torch.randperm(len(y), generator=generator), self.batch):
                    part = z[rows]
                    near = affinity(part @ keys.T, beta)
                    slope = entropy_slope(zero_shot[rows] + alpha * (near @ values), y[rows]).mul_(alpha * beta)
                    descent.step(near.mul_(slope @ values.T).T @ part, along_cosine(self.rate, descent.steps, steps))
                    bar.advance()
        return keys
