"""Long-CLIP reads long captions: the little-trained text positions are stretched, and short captions see the main
components of the images alone.

    q_i     = p_i                                                        for i < k
    q_(k+rj+s) = (1 - s/r) p_(k+j) + s/r p_(k+j+1)                       for s = 0 .. r - 1
    X^      = (X - mu) V V^T + mu
    L       = L_clip(X, T_long) + w L_clip(X^, T_short)

p, q: rows of the old and the new position table; past the last row the line through the last two goes on
k: kept rows, 20; r: ratio, 4, so that 77 positions become 248
X: (B, D) unit image embeddings of this process's rows; mu: (D,) their mean
V: (D, m) first m right singular vectors of X - mu, m = 32
T_long, T_short: (B, D) unit embeddings of each caption, and of its first sentence
L_clip: CLIP's loss with smoothed labels, see ``clip_loss``; X^ enters as it is, not normalised
w: weight of the short term

The kept rows of the table are not trained. A text that ends within them has the same vector before training.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.changes.apply import changed
from diptych.core import Backbone, ClassNames, Clock, Evidence, Kit, Learns, MissingHook, Recipe, Row, Run, Trainee
from diptych.core.ranges import at_least, between, check
from diptych.core.train import everything
from diptych.nn.contrastive import contrastive, softmax_pairs, wide
from diptych.train.pair import PairTrainee, View, drawn_caption, item

TIED = 1e-6
"""Squared singular values nearer than this share of the largest are equal: no gradient tells their vectors apart."""


def first_sentence(caption: str) -> str:
    """Return the text up to the first full stop that a space follows; line breaks become spaces.

    Example:
        >>> first_sentence("A dog on a beach. It holds a ball.")
        'A dog on a beach.'
    """
    head, stop, _ = caption.replace("\n", " ").partition(". ")
    return head + stop.strip()


def principal(x: Tensor, components: int) -> Tensor:
    """Return X^, the projection of rows on their mean and first principal components, with gradient.

    The projection is turned by P = U U^T of the left singular vectors, U (B, m). Its gradient is that of P alone, to
    which only pairs of a kept and a left out component contribute. That of an SVD also divides by the differences of
    the kept ones, which are 0 where rows are equal.

    Args:
        x: (B, D) rows.
        components: m, >= 0; from B - 1 or D on the result is x.

    Source: Zhang et al. 2024, section 3.2 (primary component matching).

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [3.0, 0.2], [5.0, -0.2]])
        >>> principal(x, 0)[0].tolist()
        [3.0, 0.0]
    """
    with torch.autocast(x.device.type, enabled=False):
        x, left = wide(x), len(x) - components
        if components >= min(len(x) - 1, x.shape[1]):
            return x
        mean = x.mean(0, keepdim=True)
        products = (x - mean) @ (x - mean).T
        # Ascending; of numbers that are not finite, so that the loss is none either, and the loop says so.
        values, vectors = torch.linalg.eigh(products.detach().nan_to_num(0.0, 0.0, 0.0))
        out, largest = vectors[:, :left], vectors[:, left:]
        gaps = values[left:] - values[:left, None]
        apart = gaps > TIED * values[-1]
        # Zeros whose gradient is the first-order turn of the kept components towards the others.
        turn = out.T @ (products - products.detach()) @ largest * torch.where(apart, 1 / gaps, 0.0)
        moved = out @ turn @ largest.T
        coarse: Tensor = (largest @ largest.T + moved + moved.T) @ (x - mean) + mean
        return coarse


class _Long(PairTrainee):
    """Trains long captions against images, and first sentences against their main components."""

    def __init__(self, recipe: LongCLIP, space: Backbone, run: Run, learns: Learns) -> None:
        texts: dict[str, Any] = {"long": View("text", drawn_caption), "short": View("text", drawn_caption)}
        super().__init__(space, None, run, read={"image": item, **texts}, learns=learns)
        self.recipe, self.warned = recipe, False
        module: Any = self.space.module()
        self.positions = getattr(module, "text", module).positional_embedding
        self.first = self.positions.detach()[: recipe.kept].clone()

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the image, a drawn caption, and its first sentence."""
        caption = drawn_caption(row, g)
        return {"image": row.item, "long": caption, "short": first_sentence(caption)}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the two terms, "long" and "short"."""
        r, e = self.recipe, self.embed(batch)
        x, short = (normalize(wide(e.vectors[m]), dim=-1) for m in ("image", "short"))
        if len(x) <= r.components + 1 and not self.warned:
            self.warned = True
            warnings.warn(
                f"A batch of {len(x)} images has no more than {len(x) - 1} principal components, so that "
                f"{r.components} keep all of it: train with larger batches a process.",
                stacklevel=2,
            )
        coarse, scale, first = principal(x, r.components), e.scale("image", "short")[0], e.rank * len(x)
        there = softmax_pairs(coarse, e.gather(short), scale, first, smoothing=r.smoothing)
        back = softmax_pairs(short, e.gather(coarse), scale, first, smoothing=r.smoothing)
        long = contrastive(e, ("image", "long"), smoothing=r.smoothing)
        return {"long": long, "short": r.weight * (there + back) / 2}

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        """Put the kept rows of the position table back after a step."""
        super().after(what, clock)
        self.positions[: self.recipe.kept] = self.first.to(self.positions)


@dataclass(frozen=True)
class LongCLIP(Recipe):
    """Lengthen the text context of a CLIP and train it on long captions, keeping what it knows of short ones.

    Use it where captions are longer than the context, on open_clip models with a position table. Load the backbone as
    NAME?truncate, so that it can be measured on long captions before the training.

    Args:
        kept: k, first rows of the position table that stay, >= 0; 20 (the paper's).
        ratio: r, new rows for each of the others, >= 1; 4 (the paper's).
        components: m, >= 0; 32 (the paper's).
        weight: w, >= 0; 1.0 (the authors').
        smoothing: of the labels, in [0, 1); 0.1 (the authors').

    Raises:
        UsageError: a number is out of its range.

    Source: Zhang et al. 2024, sections 3.1 and 3.2.

    Example:
        >>> x = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(principal(x, LongCLIP().components), x, atol=1e-5)  # five rows have four components
        True
    """

    passes_once: ClassVar[bool] = True
    kept: int = 20
    ratio: int = 4
    components: int = 32
    weight: float = 1.0
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        check(self, at_least(0), "kept", "components", "weight")
        check(self, at_least(1), "ratio")
        check(self, between(0, 1, "[)"), "smoothing")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee, on a copy of the backbone with the longer context.

        Raises:
            MissingHook: the text tower has no table of positions, or no tower is there to train.
        """
        space = kit.need(Backbone)
        if not hasattr(space.module(), "logit_scale"):
            raise MissingHook(f"Long-CLIP lengthens the text positions of open_clip models, not of {space.spec.name}.")
        longer = changed(space, "text-positions", kept=self.kept, ratio=self.ratio)
        assert isinstance(longer, Backbone)  # a change keeps the kind
        yield _Long(self, longer, run, learns)
