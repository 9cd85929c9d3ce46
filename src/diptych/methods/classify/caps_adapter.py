"""M-Adapter of CapS-Adapter: a cache whose keys are support images and their captions, and a vote of classes that look
alike.

F      = normalise(image(x_i)),  C = normalise(text(prefix + caption_i))  (M, D) each; L: (M, K) one-hot labels
a      = (1 - delta) z F^T + delta z C^T
q, p_i = softmax(z T^T / tau), softmax(f_i T^T / tau)                  class distributions of a test and a support image
logits = s z T^T + b  +  alpha exp(-beta (1 - a)) L  -  gamma psi(KL(q || p_i)) L

psi maps the range of the KL divergences to that of a; both ranges are those of the val images, so no prediction hangs
on its batch. delta = 0 is TIP-X (SuS-X), and with gamma = 0 Tip-Adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.core.backbone import Backbone
from diptych.core.card import Card, Headline, Needs, ProofPlan, Reference
from diptych.core.data import ClassNames, Evidence, Samples, Table, Texts
from diptych.core.kit import Kit
from diptych.core.language import Ask, Writer
from diptych.core.method import Classifier, FittedClassifier, Scores
from diptych.core.ranges import above, at_least, between, check
from diptych.core.run import Run
from diptych.data.captions import captions
from diptych.data.evidence import held_out, shots
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.nn.cache_model import affinity
from diptych.nn.mixing import CELLS, first_best, hits

ASK = "Describe this photo in one short sentence that names its key elements."
"""What a captioner is asked, our own wording."""

DELTAS = tuple(i / 5 for i in range(6))
BETAS = tuple(1 + 4.9 * i for i in range(10))
GAMMAS = tuple(0.1 + 29.9 / 6 * i for i in range(6))
ALPHAS = tuple(0.1 + 4.99 * i for i in range(10))


def mixed_similarity(z: Tensor, images: Tensor, texts: Tensor, delta: float) -> Tensor:
    """Return a, (N, M), of (N, D) unit test embeddings with (M, D) unit embeddings of support images and captions."""
    return (1 - delta) * (z @ images.T) + delta * (z @ texts.T)


def divergences(z: Tensor, images: Tensor, head: Tensor, tau: float) -> Tensor:
    """Return KL(q_n || p_i), (N, M): in nats, >= 0.

    Args:
        z: (N, D) unit embeddings of test images.
        images: (M, D) unit embeddings of support images.
        head: (K, D) unit class embeddings.
        tau: temperature of both distributions, > 0.
    """
    log_q, log_p = ((x.double() @ head.double().T / tau).log_softmax(dim=1) for x in (z, images))
    q = log_q.exp()
    return ((q * log_q).sum(dim=1, keepdim=True) - q @ log_p.T).clamp_min(0.0).float()


def rescaled(values: Tensor, old: tuple[float, float], new: tuple[float, float]) -> Tensor:
    """Return psi: the line that takes the range ``old`` to ``new``, also outside of it; an empty range goes to the low
    end.
    """
    return new[0] + (values - old[0]) * ((new[1] - new[0]) / (old[1] - old[0]) if old[1] > old[0] else 0.0)


def prompts(
    names: Sequence[str], labels: Sequence[int], said: Sequence[str], prefix: str, words: int | None
) -> tuple[str, ...]:
    """Return what is encoded for each support image: the prefix with the name of its class, then the caption, cut after
    ``words``.
    """
    full = [f"{prefix.replace('{}', names[k])}{text}".split() for k, text in zip(labels, said, strict=True)]
    return tuple(" ".join(text[:words]) for text in full)


@dataclass(frozen=True)
class CapSAdapter(Classifier):
    """Add votes of captioned support images to the zero-shot classifier.

    Captions are the train table's column "captions"; else a part "captioner" (a ``Writer`` that sees) of the kit writes
    them; else they are a few words about the colours of the picture.

    Args:
        alpha: weight of the vote by similarity, >= 0; None: chosen on val.
        beta: its sharpness, >= 0; None: chosen on val.
        gamma: weight of the vote by divergence, >= 0; None: chosen on val; 0 is the authors' variant without it.
        delta: share of the caption in the similarity, in [0, 1]; None: chosen on val; 0 is TIP-X.
        temperature: tau of the class distributions, > 0 (default 0.5, the paper's).
        prefix: stands before each caption; "{}" is the class name.
        words: of the prompt that are kept, >= 1; None keeps all.

    Raises:
        UsageError: a number out of its range.

    Source: arXiv 2405.16591, M-Adapter; SuS-X (arXiv 2211.16198) for the divergence of class distributions.
    """

    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    delta: float | None = None
    temperature: float = 0.5
    prefix: str = "A photo of {}. "
    words: int | None = None

    card: ClassVar[Card] = Card(
        slug="caps-adapter",
        name="M-Adapter (CapS-Adapter)",
        title="CapS-Adapter: Caption-based MultiModal Adapter in Zero-Shot Classification",
        url="https://arxiv.org/abs/2405.16591",
        year=2024,
        verb="classify",
        claim="Support images with captions, both compared with the test image, beat a cache that holds images alone.",
        needs=Needs(evidence=("train", "val")),
        trains="nothing",
        headlines=(
            Headline("mean of 19 data sets", "CLIP, average not specified", "gain in top-1", 2.19, "SuS-X", "abstract"),
        ),
        reference=Reference("https://github.com/WLuLi/CapS-Adapter", "bb2182a", "none found"),
        differs=(
            "The divergence compares class distributions, as the text and SuS-X say; the released code compares "
            "embedding coordinates.",
            "The range of the rescaling is that of val, stored; the released code takes that of the block being "
            "predicted.",
            "Every test image has its divergences; the released code leaves zeros for the last N mod 10.",
            "The search tries 6 x 10 x 6 x 10 values over the authors' ranges, where they try 2.2 million.",
            "Support images are the given shots with their own captions; generating images from captions is left to "
            "other tools.",
            "The class texts are the templates alone; the authors add descriptions of a language model. The scale is "
            "the backbone's own.",
            "A prompt that is longer than the text tower reads is an error; the authors cut it. words, or a backbone "
            "that cuts, help.",
        ),
        proof=ProofPlan(
            claim="At 16 shots, captions that name the class and its colours beat the same search without captions "
            "(TIP-X), and zero-shot.",
            control="With the captions of other classes they do not beat TIP-X; shuffled labels are measured beside "
            "it.",
            datasets=("demo:clothes", "cifar10_small"),
        ),
        variants={"": {}, "without KL": {"gamma": 0.0}, "TIP-X": {"delta": 0.0}},
    )

    def __post_init__(self) -> None:
        check(self, at_least(0), "alpha", "beta", "gamma")
        check(self, between(0, 1), "delta")
        check(self, above(0), "temperature")
        check(self, at_least(1), "words")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCapSAdapter:
        """Embed the support; choose what is None by val accuracy: ties keep the smallest delta, then beta, gamma and
        alpha.

        Raises:
            MissingPart: the kit has no backbone.
            MissingEvidence: train or val is missing; val gives the ranges too.
            DataError: a class has no train item, or a label lies outside the class list.
            UsageError: a prompt is longer than the text tower reads.
        """
        backbone = kit.need(Backbone)
        train, labels = shots(evidence, classes)
        val, val_labels = held_out(
            evidence, classes, choosing="alpha, beta, gamma, delta and the range of the divergences"
        )
        said = captions(train)
        if "captions" not in train.columns and "captioner" in kit.parts:
            said = written(kit.need(Writer, "captioner"), train)

        sentences = prompts(classes.names, labels.tolist(), said, self.prefix, self.words)
        head = text_head(backbone, classes.prompts(), run)
        images = normalize(embed(backbone.image, train.items, run), dim=-1)
        texts = normalize(embed(backbone.text, Texts(sentences), run), dim=-1)
        z, y = normalize(embed(backbone.image, val.items, run), dim=-1), torch.tensor(val_labels)
        kl = divergences(z, images, head, self.temperature)
        span = (float(kl.min()), float(kl.max()))
        start = FittedCapSAdapter(
            classes,
            backbone,
            head,
            images,
            texts,
            torch.tensor(labels),
            self.temperature,
            span,
            (0.0, 0.0),
            0.0,
            0.0,
            0.0,
            0.0,
        )
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
            alike = rescaled(kl, start.span, ranges[-1]) @ values
            for b, beta in enumerate(betas):
                vote = affinity(a, beta) @ values
                for g, gamma in enumerate(gammas):
                    counts[d, b, g] = hits(base - gamma * alike, vote, y, torch.tensor(alphas))
        d, b, g, i = first_best(counts)
        return replace(start, range=ranges[d], delta=deltas[d], beta=betas[b], gamma=gammas[g], alpha=alphas[i])


def written(writer: Writer, table: Table[Any]) -> tuple[str, ...]:
    """Return what a captioner says of each picture; "" where it is silent."""
    replies = writer.write([Ask(ASK, image=table.items[i]) for i in range(len(table))])
    return tuple(reply[0].value if reply else "" for reply in replies)


@dataclass(frozen=True)
class FittedCapSAdapter(FittedClassifier):
    """A text head and a captioned support.

    Args:
        classes: K names.
        backbone: embeds the images.
        head: (K, D) unit class embeddings.
        images: (M, D) unit embeddings of the support images.
        texts: (M, D) unit embeddings of their prompts.
        labels: (M,) class positions.
        temperature: tau.
        span: least and greatest divergence on val.
        range: least and greatest mixed similarity on val.
        delta: share of the captions.
        beta: sharpness of the vote.
        gamma: weight of the divergences.
        alpha: weight of the vote.
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
        found = []
        for part in torch.split(z, max(1, CELLS // len(self.labels))):
            vote = affinity(mixed_similarity(part, self.images, self.texts, self.delta), self.beta)
            alike = rescaled(divergences(part, self.images, self.head, self.temperature), self.span, self.range)
            found.append(logits(self.backbone, part, self.head) + (self.alpha * vote - self.gamma * alike) @ values)
        return Scores(torch.cat(found), "logit")
