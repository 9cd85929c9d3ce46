"""Retrieval tuning makes the images of a CLIP find each other by class, and keeps texts able to find them.

    a(c, m) = cos(arccos(c) + m)                                        c - m sin(m) where arccos(c) > pi - m
    p(c, Z) = e^(s a(c, m)) / ( e^(s a(c, m)) + Z )
    L_arc   = - mean over i of  log p(x_i . w_yi, sum over c != y_i of e^(s x_i . w_c))
    L_mc    = - mean over i, k of  log p(x_i . t_ik, sum over j with y_j != y_i, and over l, of e^(s x_i . t_jl))
    L       = L_arc + lambda L_mc

    realignment:  L = CLIP's loss of the pairs (x_i, t_i), images frozen

x_i: (D,) unit joint embedding of image i;  y_i: its class
w_c: (D,) unit row of class c, a trained matrix that is not part of the result
t_ik: (D,) unit embedding of caption k of image i, by the text tower, of K captions
m: margin in radians;  s: inverse temperature of both losses;  lambda: weight of the captions

Two ways keep the texts' fit. MCIP has the captions in the loss while the image tower learns (lambda > 0, text tower
frozen). 2SFT tunes with the classes alone (lambda = 0) and then realigns: the text tower learns, the image tower is
frozen. Both leave one vector per image, for search by image and by text. With lambda = 0 and no realignment images
improve and the texts no longer fit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    DataError,
    Evidence,
    Kit,
    Learns,
    MissingEvidence,
    ParamGroup,
    Recipe,
    Row,
    Run,
    Space,
    Trainee,
    UsageError,
)
from diptych.core.ranges import above, at_least, between, check
from diptych.core.train import Stage, everything
from diptych.features.frozen import side_names
from diptych.nn.angular_margin import arc_loss, caption_loss
from diptych.nn.contrastive import softmax_pairs
from diptych.train.pair import PairTrainee, item
from diptych.train.row_captions import RowCaptions

CLASSES = "classes.matrix"
"""Name of the class matrix in the trainee's module."""


class _Images(PairTrainee):
    """Trains the image side on classes, and on captions whose text side is frozen."""

    def __init__(
        self,
        recipe: RetrievalTuning,
        space: Backbone,
        run: Run,
        labels: Sequence[int],
        captions: RowCaptions,
        learns: Learns,
    ) -> None:
        super().__init__(space, None, run, read={"image": item}, learns=learns)
        self.recipe, self.captions = recipe, captions
        self.position = {label: i for i, label in enumerate(labels)}
        with run.seeded("class matrix"):
            self._module["classes"] = nn.ParameterDict(
                {"matrix": nn.Parameter(torch.randn(len(labels), space.spec.dim))}
            )

    def groups(self) -> list[ParamGroup]:
        """Return the groups of the image side, and the class matrix with its own rate."""
        sides = [ParamGroup(tuple(n for n in g.names if n != CLASSES), g.lr, g.decay) for g in super().groups()]
        return [*sides, ParamGroup((CLASSES,), lr=self.recipe.class_lr)]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the image, the position of its class, and K captions.

        Raises:
            DataError: no training row has the label of this one.
        """
        label = int(row.columns["label"])
        if label not in self.position:
            raise DataError(f"Row {row.index} is of class {label}, and no training row is: leave it out.")
        texts = self.captions.drawn(row, g, self.recipe.captions) if self.recipe.weight else []
        return {**super().views(row, g), "label": self.position[label], "captions": texts}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the images' inputs, (B,) labels, and the inputs of B K captions."""
        batch = {**super().collate(views), "label": torch.tensor([v["label"] for v in views])}
        if self.recipe.weight:
            batch["text"] = self.space.encoders["text"].inputs([t for v in views for t in v["captions"]])
        return batch

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return "arc", and "captions" where they have a weight."""
        r, e, labels = self.recipe, self.embed(batch), batch["label"]
        with torch.autocast(labels.device.type, enabled=False):
            x = normalize(e.vectors["image"].float(), dim=-1)
            w = normalize(self._module.get_parameter(CLASSES), dim=-1)
            losses = {"arc": arc_loss(x, w, labels, r.scale, r.margin)}
        if r.weight:
            with torch.no_grad():
                t = normalize(self.space.encoders["text"].encode(batch["text"]).float(), dim=-1)
            t = t.reshape(len(x), r.captions, -1)
            with torch.autocast(labels.device.type, enabled=False):
                loss = caption_loss(x, t, labels, e.gather(t), e.gather(labels), r.scale, r.margin)
            losses["captions"] = r.weight * loss
        return losses


class _Texts(PairTrainee):
    """Trains the text side to fit frozen images; equal captions of a batch are no negatives of each other."""

    def __init__(self, space: Space, run: Run, captions: RowCaptions, learns: Learns) -> None:
        super().__init__(space, None, run, read={"image": item, "text": captions.one}, learns=learns)

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the encoders' inputs, and (B,) numbers that are equal for equal captions."""
        numbers = [int(hashlib.sha256(v["text"].encode()).hexdigest()[:15], 16) for v in views]
        return {**super().collate(views), "number": torch.tensor(numbers)}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return CLIP's loss as "contrastive"."""
        e, number = self.embed(batch), batch["number"]
        x, t = (normalize(e.vectors[m].float(), dim=-1) for m in ("image", "text"))
        scale, first, seen = e.scale("image", "text")[0], e.rank * len(x), number[:, None] != e.gather(number)[None]
        there = softmax_pairs(x, e.gather(t), scale, first, seen=seen)
        back = softmax_pairs(t, e.gather(x), scale, first, seen=seen)
        return {"contrastive": (there + back) / 2}


@dataclass(frozen=True)
class RetrievalTuning(Recipe):
    """Tune the image tower for search by image, and keep the fit of the texts, by captions in the loss or afterwards.

    Use it where one index must answer both pictures and texts. Rows need labels. Their captions are best written by a
    captioner; rows without captions take the prompts of their class.

    Args:
        weight: lambda, of the captions while the images learn, >= 0; 1.0 (ours: the paper's was not found).
        realign: whether the text tower learns afterwards; False.
        captions: K, captions of an image in one step, >= 1; 3 (as drawn in the paper's figure).
        scale: s, > 0; 30.0 (ours).
        margin: m in radians, in [0, pi / 2]; 0.5 (ours, ArcFace's).
        class_lr: factor on the learning rate for the class matrix, > 0; 100.0 (ours).

    Raises:
        UsageError: a number is out of its range.

    Source: Schall et al. 2024, section 3 (two-stage fine-tuning, and multi-caption image pairing).

    Example:
        Images at the rows of their classes, without and with a margin:

        >>> x, labels = torch.eye(3), torch.arange(3)
        >>> round(arc_loss(x, x, labels, scale=5.0, margin=0.0).item(), 4)  # ln(1 + 2 e^-5)
        0.0134
        >>> round(arc_loss(x, x, labels, scale=5.0, margin=0.5).item(), 4)
        0.0245
        >>> caption_loss(x, x[:, None], labels * 0, x[:, None], labels * 0, 5.0, 0.5).item()  # one class: no negatives
        0.0
    """

    weight: float = 1.0
    realign: bool = False
    captions: int = 3
    scale: float = 30.0
    margin: float = 0.5
    class_lr: float = 100.0

    def __post_init__(self) -> None:
        check(self, at_least(0), "weight")
        check(self, at_least(1), "captions")
        check(self, above(0), "scale", "class_lr")
        check(self, between(0, math.pi / 2), "margin")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee | Stage]:
        """Yield the trainee of the images, then where realigned that of the texts.

        The texts learn from the rows of ``evidence.auxiliary``, captioned images, where they are given.

        Raises:
            UsageError: nothing of a tower that must learn may be trained.
            DataError: the rows have no labels, or all are of one class.
            MissingEvidence: rows have neither captions nor class names.
        """
        space = kit.need(Backbone)
        if evidence.train is None:
            raise MissingEvidence(
                "retrieval-tuning needs labelled rows for training, and there is no train split: add one."
            )
        labels = np.unique(evidence.train.labels()).tolist()
        if len(labels) < 2:
            raise DataError(f"All training rows are of class {labels[0]}: give rows of two classes at least.")
        read = self.weight > 0 or (self.realign and evidence.auxiliary is None)
        if read and "captions" not in evidence.train.columns and classes is None:
            raise MissingEvidence(
                "retrieval-tuning keeps images near their captions, and the rows have neither captions nor class "
                "names: give a column 'caption', or class folders."
            )
        captions = RowCaptions(classes.prompts() if classes else ())
        image, text = (side_names(space, side) for side in ("image", "text"))
        images = _Images(self, space, run, labels, captions, _only(image - text, "image", learns))
        texts = _only(text - image, "text", learns) if self.realign else None
        yield images
        if texts is not None:
            yield Stage(_Texts(images.trained(), run, captions, texts), data=evidence.auxiliary)


def _only(names: frozenset[str], side: str, learns: Learns) -> Learns:
    """Return which of the names may be trained."""
    chosen = frozenset(n for n in names if learns(n))
    if not chosen:
        raise UsageError(
            f"retrieval-tuning trains the {side} tower, and none of its parameters may learn: give {{parts}} all or "
            f"heads."
        )
    return chosen.__contains__
