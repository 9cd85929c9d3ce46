"""CLIP4DM finds the words of a caption that do not fit the image, by signed gradients of the text tower's attention.

    c           = cos(text(template + caption), image)
    M_l         = mean over heads of (dc/dA_l * A_l)
    R           = mean of M_l over the last k text blocks
    r           = p R
    score(w)    = mean of r over the tokens of word w
    neg         = sum of score(w) over the wrong words w
    F-CLIPScore = neg (1 - max(c, 0))

A_l: (H, T, T) attention probabilities of block l, with H heads and T tokens
M_l, R: (T, T) attributions; they keep their sign, while other explanations cut them at 0
p: (T,) weights by which the tower pools its tokens; for CLIP it is 1 at the end token
r: (T,) attributions of the tokens, in units of the cosine; a negative one lowers the cosine
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from diptych.backbones.towers.kernels import recording_attention
from diptych.core import (
    Backbone,
    Evidence,
    FittedPairScorer,
    Inputs,
    Kit,
    MissingHook,
    PairScorer,
    PairScores,
    Part,
    Run,
    State,
    Table,
    Tower,
    UsageError,
)
from diptych.core.ranges import at_least, check, one_of
from diptych.features.embed import embed
from diptych.nn.text.word_spans import PUNCTUATION, first_captions, token_spans, words

Choice = Literal["most-negative", "threshold"]


def attributions(tower: Tower, x: Inputs, image: Tensor, layers: int = 3) -> tuple[Tensor, Tensor]:
    """Return the cosines (B,) of texts and images, and the signed attributions (B, T) of the tokens.

    Args:
        tower: a text tower.
        x: inputs of B texts.
        image: (B, D) image embeddings.
        layers: k, last blocks that are averaged, from 1 to the tower's depth.

    Raises:
        MissingHook: the tower pools by attention of its own.
    """
    first, record = tower.depth - layers, dict[int, Tensor]()
    with torch.enable_grad():
        with torch.no_grad():
            s = tower.blocks(tower.start(x), stop=first)
        s = tower.blocks(_rooted(s), first, kernel=recording_attention(record))
        cosine = cosine_similarity(tower.project(tower.pooled(s)), image.to(s.h), dim=-1)
        grads = torch.autograd.grad(cosine.sum(), list(record.values()))
    maps = torch.stack([(g * a.detach()).mean(1) for g, a in zip(grads, record.values(), strict=True)]).mean(0)
    if s.pool is None:
        raise MissingHook(
            "This text tower pools by attention, so no row of its attention shows what is pooled: use a CLIP text "
            "tower or lite."
        )
    return cosine.detach(), torch.einsum("bt,btu->bu", s.pool.to(maps), maps)


def _rooted(s: State) -> State:
    """Return a state from which gradients are recorded, even where all weights are frozen."""
    return replace(s, h=s.h.detach().requires_grad_(True))


def f_clipscore(neg: Tensor, cosine: Tensor) -> Tensor:
    """Return F-CLIPScore, neg (1 - max(c, 0)); a lower value is worse.

    Args:
        neg: any size, scores of the wrong words.
        cosine: the same size, cosines c.

    Source: the authors' code, which writes it with CLIPScore = 2.5 max(c, 0).
    """
    return neg * (1 - cosine.clamp(min=0))


def chosen(scores: Sequence[float], texts: Sequence[str], choice: Choice, threshold: float) -> list[int]:
    """Return the positions of the words that are judged wrong.

    Args:
        scores: of the words.
        texts: the words.
        choice: "most-negative": the word with the lowest score, even a positive one. "threshold": all words below
            ``threshold``, punctuation left out.
        threshold: eps.
    """
    if choice == "most-negative":
        return [min(range(len(scores)), key=scores.__getitem__)] if len(scores) else []
    return [i for i, (s, t) in enumerate(zip(scores, texts, strict=True)) if s < threshold and t not in PUNCTUATION]


@dataclass(frozen=True)
class CLIP4DM(PairScorer):
    """Attribute the cosine of image and caption to the words of the caption, and mark the words that do not fit.

    Use it to find captions with one wrong word. To rank whole captions, compare with CLIPScore first (see the card).

    Args:
        choice: "threshold" (ours, default): every word below ``threshold`` is wrong, perhaps none. "most-negative":
            exactly one word is wrong, the lowest.
        threshold: eps, in units of the cosine; -5e-5, the paper's for CLIP ViT-B/32. Other backbones need another.
        layers: k, last text blocks that are averaged, >= 1; 3 (the authors').
        template: text before the caption, whose words are not judged; "A photo depicts " (the authors').

    Raises:
        UsageError: the choice is unknown, or layers is below 1.

    Source: Nam et al. 2025, sections 3 and 4; F-CLIPScore: section 3.3.

    Example:
        >>> scores, texts = (2e-4, -3e-4, 1e-5), ("a", "red", "fox")
        >>> wrong = chosen(scores, texts, "threshold", -5e-5)
        >>> [texts[i] for i in wrong]
        ['red']
        >>> neg = torch.tensor(sum(scores[i] for i in wrong))
        >>> print(f"{f_clipscore(neg, torch.tensor(0.25)):.6f}")
        -0.000225
    """

    choice: Choice = "threshold"
    threshold: float = -5e-5
    layers: int = 3
    template: str = "A photo depicts "

    def __post_init__(self) -> None:
        check(self, one_of("most-negative", "threshold"), "choice")
        check(self, at_least(1), "layers")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedCLIP4DM:
        """Return the scorer for the kit's backbone; nothing is trained.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has no text tower.
            UsageError: the tower has fewer blocks than ``layers``.
        """
        backbone = kit.need(Backbone)
        depth = backbone.tower("text").depth
        if self.layers > depth:
            raise UsageError(
                f"layers must be at most {depth} for {backbone.spec.name}, which has so many text blocks, "
                f"got {self.layers}: give fewer."
            )
        return FittedCLIP4DM(backbone, self.choice, self.threshold, self.layers, self.template)


@dataclass(frozen=True)
class FittedCLIP4DM(FittedPairScorer):
    """Scores pairs of image and caption with one backbone.

    Args:
        backbone: its image encoder embeds images; its text tower gives the attributions.
        choice, threshold, layers, template: the settings of the method.
    """

    backbone: Backbone
    choice: Choice
    threshold: float
    layers: int
    template: str

    def score(self, pairs: Table[Any], run: Run) -> PairScores:
        """Return F-CLIPScore of N pairs, (N,), and the words of each caption with their attributions.

        The columns are "cosine" (c), "clipscore" (2.5 max(c, 0)) and "neg".

        Raises:
            UnreadableItem: an image cannot be read.
            UsageError: a caption is longer than the text tower's context.
            DataError: there is no "captions" column, or an item has no caption.
        """
        texts = first_captions(pairs)
        z = normalize(embed(self.backbone.image, pairs.items, run), dim=-1)
        encoder, tower = self.backbone.text, self.backbone.tower("text")
        cosines, parts = [z.new_zeros(0)], list[tuple[Part, ...]]()
        with run.track("attribute words", len(texts)) as bar:
            for start in range(0, len(texts), run.batch):
                some = texts[start : start + run.batch]
                x = encoder.inputs([self.template + t for t in some])
                x = x.to(run.device) if isinstance(x, Tensor) else {name: t.to(run.device) for name, t in x.items()}
                cosine, r = attributions(tower, x, z[start : start + run.batch].to(run.device), self.layers)
                cosines.append(cosine.float().cpu())
                parts += [self._parts(text, row) for text, row in zip(some, r.float().cpu(), strict=True)]
                bar.advance(len(some))
        cosine, neg = torch.cat(cosines), torch.tensor([sum(p.weight for p in row if p.chosen) for row in parts])
        values = f_clipscore(neg, cosine)
        return PairScores(values, tuple(parts), {"cosine": cosine, "clipscore": 2.5 * cosine.clamp(min=0), "neg": neg})

    def _parts(self, text: str, r: Tensor) -> tuple[Part, ...]:
        stretches = words(text)
        shift = len(self.template)
        before = words(self.template)
        spans = token_spans(
            self.backbone.text, self.template + text, [*before, *((a + shift, b + shift) for a, b in stretches)]
        )[len(before) :]
        scores = [float(r[a:b].mean()) if b > a else 0.0 for a, b in spans]
        wrong = chosen(scores, [text[a:b] for a, b in stretches], self.choice, self.threshold)
        return tuple(
            Part(text[a:b], a, b, w, i in wrong) for i, ((a, b), w) in enumerate(zip(stretches, scores, strict=True))
        )
