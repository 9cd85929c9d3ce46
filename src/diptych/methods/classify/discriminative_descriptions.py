"""DisCLIP selects, for each image, the descriptions that tell its likely classes apart on a few labelled images.

    S_dj   = mean over reference images x of class j of  z_x . e(d)
    A(x)   = the k classes of highest z . e(caption_c)
    D_d(j) = mean over j' in A(x) of  S_dj - S_dj'          d is admissible for j if no S_dj', j' in A(x), exceeds S_dj
    M(x,j) = the m admissible d of highest D_d(j)           if there are none, the first m of j's own list
    s_j    = ( w z . e(caption_j) + mean over d in M(x,j) of z . e(d) ) / (w + 1)        for j in A(x)

Sizes: P texts, K classes, D dimensions of the embeddings
d: a text of the pool, which holds the texts of all classes; none of them names a class
e: (D,) unit embedding of a text;  caption_c: the name of class c in one template
z, z_x: (D,) unit embeddings of the image to classify and of reference image x
S: (P, K) mean cosine of text d with the reference images of class j
A(x): the candidates of image x;  k: their number
M(x,j): the selected texts of candidate j;  m: their number
s_j: score of candidate j;  w: weight of its caption. All other classes rank below the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    Reason,
    Run,
    Samples,
    Scores,
    Table,
    Texts,
    UsageError,
)
from diptych.core.ranges import at_least, check
from diptych.data.evidence import held_out, shots
from diptych.data.words.pools import class_texts
from diptych.data.words.templates import SINGLE
from diptych.features.embed import embed
from diptych.features.heads import text_head
from diptych.nn.candidates import candidates, ceiling
from diptych.nn.mixing import first_best, hits

WEIGHTS = tuple(i / 4 for i in range(160))
"""0, 0.25 .. 39.75: the weights of the caption that the paper sweeps."""


def responses(z: Tensor, labels: Tensor, texts: Tensor, classes: int) -> Tensor:
    """Return S transposed: the mean cosine of each class's reference images with each text.

    Args:
        z: (n, D) unit embeddings of reference images, in any order, at least one per class.
        labels: (n,) int64 class positions.
        texts: (P, D) unit text embeddings.
        classes: K.

    Returns:
        (K, P) float32.
    """
    means = torch.zeros(classes, z.shape[1], dtype=torch.float64).index_add_(0, labels, z.double())
    means /= torch.bincount(labels, minlength=classes)[:, None]
    return (means @ texts.double().T).float()


def selected(response: Tensor, m: int) -> list[Tensor]:
    """Select the texts that tell k candidates apart.

    Args:
        response: (k, P), the candidates' rows of ``responses``.
        m: texts a candidate, at most.

    Returns:
        For each candidate the (0 .. m,) positions of its admissible texts, best first; of ties the first.
    """
    admissible = response == response.amax(dim=0)
    gap = response - response.mean(dim=0)
    order = gap.argsort(dim=1, descending=True, stable=True)
    return [ranked[ok[ranked]][:m] for ranked, ok in zip(order, admissible, strict=True)]


@dataclass(frozen=True)
class DiscriminativeDescriptions(Classifier):
    """Select, for each image, the descriptions that separate its top classes on the labelled images.

    Args:
        candidates: k, classes an image is judged among, >= 1 (default 3, the paper's).
        texts: m, descriptions per class, >= 1 (default 5, the paper's).
        weight: w, of the caption against the mean of the descriptions, >= 0. None: chosen on val from 0, 0.25 .. 39.75.

    Raises:
        UsageError: candidates or texts is below 1, or weight is below 0.

    Source: arXiv 2412.11917: selection of descriptions by feedback of the model, and the classname-free score.

    Example:
        >>> import torch
        >>> from diptych.methods.classify.discriminative_descriptions import selected
        >>> response = torch.tensor([[0.30, 0.25, 0.20], [0.10, 0.28, 0.20]])  # two candidates, three texts
        >>> [positions.tolist() for positions in selected(response, m=2)]  # text 2 does not tell them apart
        [[0, 2], [1, 2]]
    """

    candidates: int = 3
    texts: int = 5
    weight: float | None = None

    def __post_init__(self) -> None:
        check(self, at_least(1), "candidates", "texts")
        check(self, at_least(0), "weight")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedDiscriminativeDescriptions:
        """Measure the cosines of the train images with every text, and choose a missing weight on val.

        The best val accuracy wins; of ties the smallest weight.

        Raises:
            MissingEvidence: train or texts are missing, texts lack a class, or val is missing and the weight was not
                given.
            DataError: a class has no train item, or a label lies outside the class list.
            UsageError: every list of texts is empty.
        """
        backbone = kit.need(Backbone)
        train, labels = shots(evidence, classes)
        lists = class_texts(evidence, classes)
        val = held_out(evidence, classes, choosing="weight") if self.weight is None else None
        pool = {text: i for i, text in enumerate(dict.fromkeys(text for listed in lists for text in listed))}
        if not pool:
            raise UsageError(
                "Every list of evidence.texts is empty, so there is nothing to select from: give a pool with texts."
            )

        captioned = replace(classes, templates=SINGLE)
        texts = normalize(embed(backbone.text, Texts(tuple(pool)), run), dim=-1)
        reference = normalize(embed(backbone.image, train.items, run), dim=-1)
        response = responses(reference, torch.tensor(labels), texts, len(captioned))
        fallback = torch.full((len(captioned), self.texts), -1)
        for row, listed in zip(fallback, lists, strict=True):
            first = tuple(dict.fromkeys(listed))[: self.texts]
            row[: len(first)] = torch.tensor([pool[text] for text in first], dtype=torch.int64)
        k = min(self.candidates, len(captioned))
        captions = text_head(backbone, captioned.prompts(), run)
        written, weight = tuple(pool), self.weight or 0.0
        fitted = FittedDiscriminativeDescriptions(
            captioned, backbone, captions, texts, written, response, fallback, k, weight
        )
        if val is None:
            return fitted
        caption, described, chosen = fitted.parts(normalize(embed(backbone.image, val[0].items, run), dim=-1))
        counts = hits(
            described.masked_fill(~chosen, float("-inf")), caption, torch.tensor(val[1]), torch.tensor(WEIGHTS)
        )
        return replace(fitted, weight=WEIGHTS[first_best(counts)[0]])


@dataclass(frozen=True)
class FittedDiscriminativeDescriptions(FittedClassifier):
    """Captions, a pool of texts, and the mean cosines of each class with the pool.

    Args:
        classes: K names and the template of the captions.
        captions: (K, D) unit embeddings.
        texts: (P, D) unit embeddings of the pool.
        written: the P texts.
        response: (K, P) mean cosines on the reference images.
        fallback: (K, m) int64 positions of each class's own first texts; -1 where there are fewer.
        candidates: k, from 1 to K.
        weight: w, of the caption.
    """

    classes: ClassNames
    backbone: Backbone
    captions: Tensor
    texts: Tensor
    written: tuple[str, ...]
    response: Tensor
    fallback: Tensor
    candidates: int
    weight: float

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) cosines: mixed for candidates, of the caption for all others, which rank below."""
        caption, described, chosen = self.parts(normalize(embed(self.backbone.image, items, run), dim=-1))
        mixed = (self.weight * caption + described) / (self.weight + 1)
        return Scores(torch.where(chosen, mixed, caption), "cosine", chosen)

    def explain(self, items: Samples[Any], run: Run) -> list[list[Reason]]:
        """Return the caption and the selected descriptions of each item's top class, strongest first.

        The weights of an item sum to its score.
        """
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        best = self.scores(items, run).predicted().tolist()
        caption = z @ self.captions.T
        reasons_of: list[list[Reason]] = [[] for _ in best]
        for classes, rows in candidates(caption, self.candidates)[1].items():
            chosen = dict(zip(classes, self._chosen(classes), strict=True))
            for i in rows:
                k, positions = best[i], chosen[best[i]]
                share = self.weight / (self.weight + 1) if len(positions) else 1.0
                reasons = [
                    Reason(self.classes.templates[0].replace("{}", self.classes.names[k]), float(caption[i, k]) * share)
                ]
                cosines = (self.texts[positions] @ z[i]).tolist()
                reasons += [
                    Reason(self.written[d], c * (1 - share) / len(positions))
                    for d, c in zip(positions.tolist(), cosines, strict=True)
                ]
                reasons_of[i] = sorted(reasons, key=lambda reason: -reason.weight)
        return reasons_of

    def ceiling(self, table: Table[Any], run: Run) -> float:
        """Return the share of labelled items whose class is among their candidates, which bounds the accuracy."""
        z = normalize(embed(self.backbone.image, table.items, run), dim=-1)
        return ceiling(z @ self.captions.T, table.labels(), self.candidates)

    def parts(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three parts of the scores of (N, D) unit embeddings, each (N, K).

        Returns:
            Cosines of the caption; mean cosines of the descriptions, 0 outside the candidates; the candidates, bool.
        """
        caption = z @ self.captions.T
        chosen, sets = candidates(caption, self.candidates)
        described = torch.zeros_like(caption)
        for classes, rows in sets.items():
            described[torch.tensor(rows)[:, None], torch.tensor(classes)] = z[rows] @ self._heads(classes).T
        return caption, described, chosen

    def _heads(self, classes: Sequence[int]) -> Tensor:
        """Return (k, D) means of each candidate's unit texts, not normalised: they give means of cosines."""
        chosen = zip(classes, self._chosen(classes), strict=True)
        return torch.stack(
            [self.texts[positions].mean(dim=0) if len(positions) else self.captions[k] for k, positions in chosen]
        )

    def _chosen(self, classes: Sequence[int]) -> list[Tensor]:
        """Return the positions of each candidate's texts: the selected ones, else its own first ones, if any."""
        selection = selected(self.response[list(classes)], self.fallback.shape[1])
        return [
            positions if len(positions) else self.fallback[k][self.fallback[k] >= 0]
            for k, positions in zip(classes, selection, strict=True)
        ]
