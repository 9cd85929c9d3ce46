"""FuDD finds the classes that an image may be, then compares them by sentences written to tell exactly these apart.

    p_c  = normalise( text(template(name_c)) )                                first look: names alone
    A(x) = the k classes of highest z . p_c
    T_a  = all texts of a against b, over b in A(x) without a, each text once
    w_a  = normalise( mean over t in T_a of normalise(text(t)) )              second look
    s_a  = z . w_a        for a in A(x); all other classes rank below

Sizes: D dimensions of the embeddings
p_c: (D,) unit embedding of the name of class c
z: (D,) unit embedding of image x
A(x): the candidates of x;  k: their number
T_a: texts of class a; a pair without texts adds the template's sentence
w_a: (D,) vector of candidate a, which depends on the image through A(x)
s_a: score of candidate a, a cosine
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, permutations
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from diptych.core import (
    Ask,
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
    Writer,
)
from diptych.core.ranges import at_least, check
from diptych.data.words.pools import VERSUS, pair_texts
from diptych.data.words.templates import SINGLE
from diptych.features.embed import embed
from diptych.features.heads import text_head
from diptych.nn.candidates import candidates, ceiling


def follow_ups(names: Sequence[str], pairs: Mapping[str, tuple[str, ...]], template: str) -> list[tuple[str, ...]]:
    """Return, for each candidate, the distinct texts that tell it apart from the others.

    Args:
        names: of the candidates, at least two.
        pairs: "a | b" -> texts of a as told apart from b.
        template: with one "{}"; its sentence replaces the texts of a pair without any.
    """
    texts_of: dict[str, dict[str, None]] = {name: {} for name in names}
    for a, b in permutations(names, 2):
        texts_of[a] |= dict.fromkeys(pairs.get(f"{a}{VERSUS}{b}") or (template.replace("{}", a),))
    return [tuple(distinct) for distinct in texts_of.values()]


QUESTION = (
    "A photo shows either {a} or {b}. Write one short caption of a photo of {a} that names something to be seen in "
    "it, and not in a photo"
    " of {b}. Begin with: A photo of"
)
"""What a writer is asked for one side of a pair. The wording is ours, for the authors' prompt is not published."""

CAPTIONS = 3
"""Texts that a writer is asked for, each side of a pair; the published pair files hold 3 to 5."""


def write_pairs(writer: Writer, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return "a | b" -> a writer's texts of a as told apart from b; pairs without a reply are left out.

    Args:
        writer: answers one question a key.
        keys: "a | b" of class names.
    """
    asks = []
    for key in keys:
        a, b = key.split(VERSUS)
        asks.append(Ask(QUESTION.replace("{a}", a).replace("{b}", b), about=key, n=CAPTIONS))
    return {
        ask.about: tuple(text.value for text in reply)
        for ask, reply in zip(asks, writer.write(asks), strict=True)
        if reply
    }


@dataclass(frozen=True)
class FuDD(Classifier):
    """Compare the candidates of a first look again, by texts that tell them apart.

    A part "writer" (a ``Writer``) of the kit writes the pairs that ``evidence.texts`` lacks. Without unlabelled images
    these are all pairs; with them, only those that occur among the images' candidates.

    Args:
        candidates: k, classes of the second look, >= 1 (default 10, the paper's). 1 means no second look. None: all
            classes, which is one classifier for every image.
        template: of the first look, with one "{}" for the name.

    Raises:
        UsageError: candidates is below 1.

    Source: arXiv 2311.07593: ambiguous classes, differential descriptions and the follow-up; steps as in the authors'
        code.

    Example:
        >>> from diptych.methods.classify.fudd import follow_ups
        >>> pairs = {"crow | raven": ("a crow with a flat tail",), "raven | crow": ("a raven with a pointed tail",)}
        >>> follow_ups(["crow", "raven"], pairs, "a photo of a {}.")
        [('a crow with a flat tail',), ('a raven with a pointed tail',)]
        >>> follow_ups(["crow", "rook"], pairs, "a photo of a {}.")  # a pair without texts
        [('a photo of a crow.',), ('a photo of a rook.',)]
    """

    candidates: int | None = 10
    template: str = SINGLE[0]

    def __post_init__(self) -> None:
        check(self, at_least(1), "candidates")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedFuDD:
        """Embed the class names; the texts of pairs are embedded later, when images make the pairs occur.

        The ``classes`` of the result hold the template. Where the kit holds a writer, texts may be missing, wholly or
        of some pairs.

        Raises:
            MissingEvidence: texts are missing, tell no two of the classes apart, or describe one side of a pair only.
            UsageError: the template does not hold exactly one "{}".
        """
        backbone = kit.need(Backbone)
        templated = replace(classes, templates=(self.template,))
        k = len(templated) if self.candidates is None else min(self.candidates, len(templated))
        writer = kit.need(Writer, "writer") if "writer" in kit.parts else None
        pairs = {} if writer and evidence.texts is None else pair_texts(evidence, templated)
        head = text_head(backbone, templated.prompts(), run)
        if writer:
            sets: Iterable[tuple[int, ...]] = [tuple(range(len(templated)))]
            if evidence.unlabelled is not None:
                sets = candidates(normalize(embed(backbone.image, evidence.unlabelled, run), dim=-1) @ head.T, k)[1]
            occurring = (
                VERSUS.join((templated.names[a], templated.names[b])) for ks in sets for a, b in permutations(ks, 2)
            )
            pairs |= write_pairs(writer, [key for key in dict.fromkeys(occurring) if key not in pairs])
        return FittedFuDD(templated, backbone, head, pairs, k)


@dataclass(frozen=True)
class FittedFuDD(FittedClassifier):
    """The head of the first look and the texts of the second.

    Args:
        classes: K names and the template of the first look.
        backbone: embeds images and, when a pair first occurs, its texts.
        head: (K, D) unit embeddings of the first look.
        pairs: "a | b" -> texts of a as told apart from b.
        candidates: k, from 1 to K.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    pairs: Mapping[str, tuple[str, ...]]
    candidates: int

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) cosines: of the second look for candidates, of the first for all others, which rank below.

        Every sentence of the pairs that occur among the N items is embedded once.
        """
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        first = z @ self.head.T
        chosen, sets = candidates(first, self.candidates)
        if self.candidates == 1:
            return Scores(first, "cosine", chosen)
        names, template = self.classes.names, self.classes.templates[0]
        texts_of = {ks: follow_ups([names[k] for k in ks], self.pairs, template) for ks in sets}
        sentences = tuple(dict.fromkeys(text for lists in texts_of.values() for texts in lists for text in texts))
        position = {text: i for i, text in enumerate(sentences)}
        unit = normalize(embed(self.backbone.text, Texts(sentences), run), dim=-1)
        values = first.clone()
        for ks, rows in sets.items():
            at = torch.tensor([position[text] for texts in texts_of[ks] for text in texts])
            starts = torch.tensor([0, *accumulate(len(texts) for texts in texts_of[ks][:-1])])
            head = normalize(embedding_bag(at, unit, starts, mode="mean"), dim=-1)
            values[torch.tensor(rows)[:, None], torch.tensor(ks)] = z[rows] @ head.T
        return Scores(values, "cosine", chosen)

    def ceiling(self, table: Table[Any], run: Run) -> float:
        """Return the share of labelled items whose class is among their candidates, which bounds the accuracy."""
        z = normalize(embed(self.backbone.image, table.items, run), dim=-1)
        return ceiling(z @ self.head.T, table.labels(), self.candidates)

    def explain(self, items: Samples[Any], run: Run) -> list[list[Reason]]:
        """Return the sentences that tell each item's top class from the other candidates, strongest first.

        A weight is the sentence's cosine, divided by the number of sentences and the length of their mean. The weights
        of an item sum to its score.
        """
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        best = self.scores(items, run).predicted().tolist()
        names, template = self.classes.names, self.classes.templates[0]
        reasons: list[list[Reason]] = [[] for _ in best]
        for ks, rows in candidates(z @ self.head.T, self.candidates)[1].items():
            texts_of = (
                follow_ups([names[k] for k in ks], self.pairs, template)
                if len(ks) > 1
                else [(template.replace("{}", names[ks[0]]),)]
            )
            for k, texts in zip(ks, texts_of, strict=True):
                items_of_class = [i for i in rows if best[i] == k]
                if items_of_class:
                    unit = normalize(embed(self.backbone.text, Texts(texts), run), dim=-1)
                    shares = z[items_of_class] @ unit.T / (len(texts) * unit.mean(dim=0).norm())
                    for i, share in zip(items_of_class, shares.tolist(), strict=True):
                        reasons[i] = sorted(
                            (Reason(t, w) for t, w in zip(texts, share, strict=True)), key=lambda reason: -reason.weight
                        )
        return reasons
