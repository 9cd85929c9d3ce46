"""Tip-Adapter stores the shots in a key-value cache and adds the cache's votes to the zero-shot logits, untrained.

    F      = normalise( mean over views of image(view) )
    a      = z F^T
    logits = s z head^T + b  +  alpha exp(-beta (1 - a)) L

Sizes: N images to classify, M shots (labelled train images), K classes, D dimensions of the embeddings
F: (M, D) keys, one a shot;  image(view): (D,) embedding of an augmented view
L: (M, K) one-hot labels of the keys
z: (N, D) unit embeddings of the images to classify
a: (N, M) cosine of each image with each key
head: (K, D) unit class embeddings of the text tower
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
alpha, beta: weight and sharpness of the vote
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from diptych.core import Classifier, ClassNames, Evidence, Kit, Run
from diptych.core.ranges import at_least, check
from diptych.nn.cache_model import FittedCache, fit_cache

PUBLISHED_SEARCH: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "ImageNet": (7, 3), "OxfordPets": (7, 3), "UCF101": (7, 3), "Caltech101": (12, 5), "EuroSAT": (12, 10),
        "SUN397": (12, 10), "DTD": (13, 13), "FGVCAircraft": (30, 30), "Food101": (10, 10), "Flowers102": (50, 50),
        "StanfordCars": (20, 10),
    }
)  # fmt: skip
"""Where the authors' searches end, as (beta, alpha), by data set. They state no rule for the choice."""


@dataclass(frozen=True)
class TipAdapter(Classifier):
    """Add a vote of the stored shots to the zero-shot classifier.

    Args:
        alpha: weight of the vote, >= 0. None: chosen on val.
        beta: sharpness of the vote, >= 0. None: chosen on val.
        search: where the search of (beta, alpha) ends. It starts at 0.1 and tries 200 x 20 values. The default is the
            authors' for ImageNet and Pets; ``PUBLISHED_SEARCH`` holds the others.
        views: augmented views that are averaged into a key, >= 1 (default 10, the authors').

    Raises:
        UsageError: alpha or beta is below 0, or views is below 1.

    Source: Zhang et al. 2022, section 3.1 (cache, equations 3 to 5).

    Example:
        >>> import torch
        >>> from diptych.nn.cache_model import cache_logits
        >>> keys, labels = torch.eye(3), torch.tensor([0, 1, 1])  # three keys of two classes
        >>> z = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])
        >>> cache_logits(z, keys, labels, classes=2, beta=5.0).round(decimals=2)
        tensor([[1.0000, 0.0100],
                [0.0100, 0.5000]])
    """

    alpha: float | None = None
    beta: float | None = None
    search: tuple[float, float] = (7.0, 3.0)
    views: int = 10

    def __post_init__(self) -> None:
        check(self, at_least(1), "views")
        check(self, at_least(0), "alpha", "beta")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCache:
        """Build the cache from train; see ``fit_cache`` for what is chosen and raised."""
        return fit_cache(
            kit, classes, evidence, run, alpha=self.alpha, beta=self.beta, search=self.search, views=self.views
        )
