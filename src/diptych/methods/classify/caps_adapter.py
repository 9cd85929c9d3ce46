"""M-Adapter of CapS-Adapter compares an image with captioned support images, and with the classes that these resemble.

    a      = (1 - delta) z F^T + delta z C^T
    q, p_i = softmax(z T^T / tau), softmax(f_i T^T / tau)
    logits = s z T^T + b  +  alpha exp(-beta (1 - a)) L  -  gamma psi(KL(q || p_i)) L

Sizes: N test images, M support images (labelled train images), K classes, D dimensions of the embeddings
F, C: (M, D) unit embeddings of the support images and of their captions, each caption behind a prefix
f_i: (D,) row i of F
L: (M, K) one-hot labels of the support images
T: (K, D) unit class embeddings of the text tower
z: (N, D) unit embeddings of the test images
a: (N, M) similarity that mixes image and caption;  delta: share of the caption
q, p_i: (N, K) and (K,), class distributions of the test images and of support image i;  tau: their temperature
psi: the line that takes the range of the KL divergences on val to the range of a on val
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
alpha, beta: weight and sharpness of the vote by similarity
gamma: weight of the vote by divergence

Both ranges are those of the val images, so that no prediction depends on its batch. With delta = 0 the system is TIP-X
(SuS-X); with gamma = 0 too it is Tip-Adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.core import (
    Ask,
    Backbone,
    Classifier,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    Run,
    Samples,
    Scores,
    Table,
    Texts,
    Writer,
)
from diptych.core.ranges import above, at_least, between, check
from diptych.data.captions import captions
from diptych.data.evidence import held_out, shots
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.nn.cache_model import affinity, divergences, mixed_similarity, rescaled
from diptych.nn.mixing import CELLS, first_best, hits

ASK = "Describe this photo in one short sentence that names its key elements."
"""What a captioner is asked; the wording is ours."""

DELTAS = tuple(i / 5 for i in range(6))
"""Values of delta that are tried on val."""
BETAS = tuple(1 + 4.9 * i for i in range(10))
"""Values of beta that are tried on val."""
GAMMAS = tuple(0.1 + 29.9 / 6 * i for i in range(6))
"""Values of gamma that are tried on val."""
ALPHAS = tuple(0.1 + 4.99 * i for i in range(10))
"""Values of alpha that are tried on val."""


def prompts(
    names: Sequence[str], labels: Sequence[int], texts: Sequence[str], prefix: str, words: int | None
) -> tuple[str, ...]:
    """Return what is encoded for each support image: prefix, name of its class, then the caption.

    Args:
        names: K class names.
        labels: (M,) class positions.
        texts: M captions.
        prefix: stands before each caption; "{}" is the class name.
        words: the prompt is cut after so many words. None: it is not cut.
    """
    sentences = [f"{prefix.replace('{}', names[k])}{caption}".split() for k, caption in zip(labels, texts, strict=True)]
    return tuple(" ".join(caption[:words]) for caption in sentences)


@dataclass(frozen=True)
class CapSAdapter(Classifier):
    """Add votes of captioned support images to the zero-shot classifier.

    Captions are the train table's column "captions". Without it, a part "captioner" of the kit (a ``Writer`` that sees
    pictures) writes them. Without that part too, a caption is a few words about the colours of the picture.

    Args:
        alpha: weight of the vote by similarity, >= 0. None: chosen on val.
        beta: sharpness of that vote, >= 0. None: chosen on val.
        gamma: weight of the vote by divergence, >= 0; 0 is the authors' variant without it. None: chosen on val.
        delta: share of the caption in the similarity, in [0, 1]; 0 is TIP-X. None: chosen on val.
        temperature: tau of the class distributions, > 0 (default 0.5, the paper's).
        prefix: stands before each caption; "{}" is the class name (default the authors').
        words: words of the prompt that are kept, >= 1. None: all.

    Raises:
        UsageError: a number is out of its range.

    Source: arXiv 2405.16591, M-Adapter; SuS-X (arXiv 2211.16198) for the divergence of class distributions.

    Example:
        >>> import torch
        >>> from diptych.nn.cache_model import mixed_similarity
        >>> from diptych.nn.cache_model import affinity
        >>> z = torch.tensor([[1.0, 0.0]])
        >>> images, texts = torch.eye(2), torch.eye(2).flip(0)  # two support images with each other's captions
        >>> a = mixed_similarity(z, images, texts, delta=0.5)
        >>> a, affinity(a, beta=2.0).round(decimals=2)
        (tensor([[0.5000, 0.5000]]), tensor([[0.3700, 0.3700]]))
    """

    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    delta: float | None = None
    temperature: float = 0.5
    prefix: str = "A photo of {}. "
    words: int | None = None

    def __post_init__(self) -> None:
        check(self, at_least(0), "alpha", "beta", "gamma")
        check(self, between(0, 1), "delta")
        check(self, above(0), "temperature")
        check(self, at_least(1), "words")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCapSAdapter:
        """Embed the support images and captions, and choose on val what is None.

        The best val accuracy wins; of ties the smallest delta, then beta, gamma and alpha.

        Raises:
            MissingEvidence: train or val is missing; val gives the two ranges too.
            DataError: a class has no train item, or a label lies outside the class list.
            UsageError: a prompt is longer than the context of the text tower.
        """
        backbone = kit.need(Backbone)
        train, labels = shots(evidence, classes)
        val, val_labels = held_out(
            evidence, classes, choosing="alpha, beta, gamma, delta and the range of the divergences"
        )
        if "captions" not in train.columns and "captioner" in kit.parts:
            texts = write_captions(kit.need(Writer, "captioner"), train)
        else:
            texts = run.once("caps-adapter, captions", lambda: captions(train))

        sentences = prompts(classes.names, labels.tolist(), texts, self.prefix, self.words)
        head = text_head(backbone, classes.prompts(), run)
        images = normalize(embed(backbone.image, train.items, run), dim=-1)
        caption_vectors = normalize(embed(backbone.text, Texts(sentences), run), dim=-1)
        z, y = normalize(embed(backbone.image, val.items, run), dim=-1), torch.tensor(val_labels)
        kl = divergences(z, images, head, self.temperature)
        span = (float(kl.min()), float(kl.max()))
        start = FittedCapSAdapter(
            classes, backbone, head, images, caption_vectors, torch.tensor(labels), self.temperature, span, (0.0, 0.0),
            0.0, 0.0, 0.0, 0.0,
        )  # fmt: skip
        return self._searched(start, z, y, kl)

    def _searched(self, start: FittedCapSAdapter, z: Tensor, y: Tensor, kl: Tensor) -> FittedCapSAdapter:
        grids = [
            tried if given is None else (given,)
            for given, tried in ((self.delta, DELTAS), (self.beta, BETAS), (self.gamma, GAMMAS), (self.alpha, ALPHAS))
        ]
        deltas, betas, gammas, alphas = grids
        values = one_hot(start.labels, len(start.classes)).to(z.dtype)
        base = logits(start.backbone, z, start.head)
        counts = torch.zeros(*map(len, grids), dtype=torch.int64)
        ranges = []
        for d, delta in enumerate(deltas):
            a = mixed_similarity(z, start.images, start.texts, delta)
            ranges.append((float(a.min()), float(a.max())))
            divergence = rescaled(kl, start.span, ranges[-1]) @ values
            for b, beta in enumerate(betas):
                vote = affinity(a, beta) @ values
                for g, gamma in enumerate(gammas):
                    counts[d, b, g] = hits(base - gamma * divergence, vote, y, torch.tensor(alphas))
        d, b, g, i = first_best(counts)
        return replace(start, range=ranges[d], delta=deltas[d], beta=betas[b], gamma=gammas[g], alpha=alphas[i])


def write_captions(writer: Writer, table: Table[Any]) -> tuple[str, ...]:
    """Return a captioner's text for each picture; "" where it returns none."""
    replies = writer.write([Ask(ASK, image=table.items[i]) for i in range(len(table))])
    return tuple(reply[0].value if reply else "" for reply in replies)


@dataclass(frozen=True)
class FittedCapSAdapter(FittedClassifier):
    """A text head and captioned support images.

    Args:
        head: (K, D) unit class embeddings.
        images: (M, D) unit embeddings of the support images.
        texts: (M, D) unit embeddings of their prompts.
        labels: (M,) class positions.
        temperature: tau.
        span: least and greatest divergence on val.
        range: least and greatest mixed similarity on val.
        delta: share of the captions.
        beta: sharpness of the vote by similarity.
        gamma: weight of the vote by divergence.
        alpha: weight of the vote by similarity.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    images: Tensor
    texts: Tensor
    labels: Tensor
    temperature: float
    span: tuple[float, float]
    range: tuple[float, float]
    delta: float
    beta: float
    gamma: float
    alpha: float

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits: zero-shot, plus the vote by similarity, minus the rescaled divergences."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        values = one_hot(self.labels, len(self.classes)).to(z.dtype)
        parts = []
        for part in torch.split(z, max(1, CELLS // len(self.labels))):
            vote = affinity(mixed_similarity(part, self.images, self.texts, self.delta), self.beta)
            divergence = rescaled(divergences(part, self.images, self.head, self.temperature), self.span, self.range)
            parts.append(
                logits(self.backbone, part, self.head) + (self.alpha * vote - self.gamma * divergence) @ values
            )
        return Scores(torch.cat(parts), "logit")
