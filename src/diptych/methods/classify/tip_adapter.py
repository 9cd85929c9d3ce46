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
from typing import Any, ClassVar

from diptych.core.card import Card, Needs, ProofPlan, Reference, headlines
from diptych.core.data import ClassNames, Evidence
from diptych.core.kit import Kit
from diptych.core.method import Classifier
from diptych.core.ranges import at_least, check
from diptych.core.run import Run
from diptych.nn.cache_model import FittedCache, fit_cache

PUBLISHED_SEARCH: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "ImageNet": (7, 3),
        "OxfordPets": (7, 3),
        "UCF101": (7, 3),
        "Caltech101": (12, 5),
        "EuroSAT": (12, 10),
        "SUN397": (12, 10),
        "DTD": (13, 13),
        "FGVCAircraft": (30, 30),
        "Food101": (10, 10),
        "Flowers102": (50, 50),
        "StanfordCars": (20, 10),
    }
)
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

    card: ClassVar[Card] = Card(
        slug="tip-adapter",
        name="Tip-Adapter",
        title="Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification",
        url="https://arxiv.org/abs/2207.09519",
        year=2022,
        verb="classify",
        claim="A cache of the few labelled images, whose similarity-weighted vote is added to CLIP's logits, beats "
        "zero-shot without training.",
        needs=Needs(evidence=("train", "val")),
        trains="nothing",
        headlines=(
            *headlines(
                "authors' log, our average",
                ("mean of 11 data sets, 1 shot", "CLIP RN50", "top-1", 62.33),
                ("mean of 11 data sets, 4 shots", "CLIP RN50", "top-1", 66.54),
                ("mean of 11 data sets, 16 shots", "CLIP RN50", "top-1", 70.32, "CLIP-Adapter 74.44"),
            ),
            *headlines(
                "authors' log",
                ("ImageNet, 16 shots", "CLIP RN50", "top-1", 62.01, "zero-shot 60.32"),
                ("EuroSAT, 16 shots", "CLIP RN50", "top-1", 70.54, "zero-shot 37.52"),
                ("DTD, 16 shots", "CLIP RN50", "top-1", 60.93, "zero-shot 42.20"),
            ),
        ),
        reference=Reference("https://github.com/gaopengcuhk/Tip-Adapter", "d0e2d6f", "none found"),
        differs=(
            "alpha and beta are chosen on val only; the authors' code searches on the test set for ImageNet.",
            "The zero-shot scale is the backbone's own, where the authors write 100.",
            "One search range for all data; the authors set one per data set (PUBLISHED_SEARCH).",
            "Keys and votes are fp32, where the authors' are fp16.",
            "The proof compares with plain zero-shot: on cifar10_small an even prior, which reads no label, gains more "
            "(6.5 points) than 16 shots in the cache (4.0).",
        ),
        proof=ProofPlan(
            claim="Tip-Adapter beats zero-shot at 1, 4 and 16 shots.",
            control="With shuffled cache labels the gain over zero-shot is gone.",
            datasets=("demo:clothes",),
        ),
        baseline=True,
    )

    def __post_init__(self) -> None:
        check(self, at_least(1), "views")
        check(self, at_least(0), "alpha", "beta")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCache:
        """Build the cache from train; see ``fit_cache`` for what is chosen and raised."""
        return fit_cache(
            kit, classes, evidence, run, alpha=self.alpha, beta=self.beta, search=self.search, views=self.views
        )
