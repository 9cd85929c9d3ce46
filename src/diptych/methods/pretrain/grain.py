"""GRAIN learns images with a few region slots, which draw boxes and are matched with descriptions of parts.

    L      = L_clip + w_b L_box + w_d L_desc
    match  = least over assignments of the sum of 5 |b_q - l_k|_1 - 2 GIoU(b_q, l_k)
    L_box  = 1.5 / n sum over matched (q, k) of [ |b_q - l_k|_1 + 1 - GIoU(b_q, l_k) ]
    L_desc = CE(s r D^T)

b_q: (4,) box of region slot q;  l_k: (4,) box of description k; centre and size in [0, 1] for |.|_1
n: matched pairs of the batch
r: (n, D) unit embeddings of the matched slots;  D: (n, D) unit embeddings of the descriptions of this process's images
CE: mean cross-entropy of the rows, whose right column is the description that the slot is matched with
L_clip: CLIP's loss of the captions and the image slots, s: its learnt scale;  w_b, w_d: weights

The slots are a decoder on the tokens of the image tower (``backbones.towers.region_slots``) in the place of its
pooling. They stay: the model's image vector is that of the image slot, and ``nn.dense.region_slots`` reads the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.changes.apply import changed
from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    DataError,
    Embedded,
    Evidence,
    Kit,
    Learns,
    Recipe,
    Row,
    Run,
    Trainee,
)
from diptych.core.ranges import at_least, between, check
from diptych.core.train import everything
from diptych.data.evidence import training_rows
from diptych.nn.contrastive import contrastive, softmax_pairs, wide
from diptych.nn.dense.region_losses import box_loss, matched
from diptych.nn.dense.region_slots import decoder_of, read_slots
from diptych.train.distributed import gather
from diptych.train.pair import View, drawn_caption, item
from diptych.train.regions import RegionTrainee, has_regions

CHANGE = "region-slots"


class _Grained(RegionTrainee):
    """Trains pairs by the image slot, and regions by the other slots."""

    def __init__(self, recipe: GRAIN, space: Backbone, run: Run, learns: Learns) -> None:
        super().__init__(
            space, run, most=min(recipe.regions, len(decoder_of(space).codes) - 1), draws=False,
            read={"image": item, "text": View("text", either_caption)}, learns=learns,
        )  # fmt: skip
        self.recipe = recipe

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return "contrastive", and the weighted terms "boxes" and "descriptions"."""
        r, text = self.recipe, self.space.encoders["text"]
        slots = read_slots(self.space, batch["image"])
        vectors = {"image": slots.image, "text": text.encode(batch["text"])}
        e = Embedded(vectors, self.scale, gather(self.run.world), self.run.world.rank)
        boxes, owner = batch["boxes"].to(slots.boxes), batch["owner"]
        places = [matched(slots.boxes[i], boxes[owner == i]) for i in owner.unique().tolist()]
        slot = torch.cat(places) if places else owner
        shown, z = slots.boxes[owner, slot], slots.regions[owner, slot]
        phrases = text.encode(batch["phrases"]) if "phrases" in batch else z
        share = len(owner) * self.run.world.size / e.gather(owner.new_tensor([len(owner)])).sum().clamp(min=1)
        scale = self.scale("image", "text")[0]
        named = (
            softmax_pairs(normalize(z, dim=-1), normalize(wide(phrases), dim=-1), scale)
            if len(owner)
            else z.sum() * 0.0
        )
        return {
            "contrastive": contrastive(e, ("image", "text")),
            "boxes": r.boxes * share * box_loss(shown, boxes),
            "descriptions": r.descriptions * share * named,
        }


def either_caption(row: Row, g: torch.Generator) -> str:
    """Return one of the row's captions or, with probability 1/2 where there are some, a synthetic one."""
    written = row.columns.get("synthetic")
    if written and float(torch.rand((), generator=g)) < 0.5:
        texts = (written,) if isinstance(written, str) else tuple(written)
        return str(texts[int(torch.randint(len(texts), (), generator=g))])
    return drawn_caption(row, g)


@dataclass(frozen=True)
class GRAIN(Recipe):
    """Train pairs, and region slots that draw boxes and are named by descriptions.

    Use it where parts of images have boxes and descriptions, and a model is wanted that finds and names parts without
    being told where. Regions are the columns "boxes" and "phrases" of the rows, the surest first; where the rows have
    "synthetic" captions, every other one is drawn of them.

    Args:
        regions: Q, region slots, and most regions of an image, >= 1; 5 (the authors'). A backbone that has slots
            keeps them, and no image has more regions than these.
        boxes: w_b, >= 0; 1.0 (the authors').
        descriptions: w_d, >= 0; 1.0 (the authors').
        width: of the decoder, >= 1; 512 (the authors').
        depth: its layers, >= 1; 6 (the authors').
        heads: of its attentions, >= 1; 8 (the authors').
        hidden: width of its MLPs, >= 1; 2048 (the authors').
        dropout: in [0, 1); 0.1 (the authors').

    Raises:
        UsageError: a number is out of its range.

    Source: Chowdhury et al. 2024, and the authors' code.

    Example:
        >>> box = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
        >>> round(box_loss(box, box).item(), 4)
        0.0
    """

    regions: int = 5
    boxes: float = 1.0
    descriptions: float = 1.0
    width: int = 512
    depth: int = 6
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check(self, at_least(1), "regions", "width", "depth", "heads", "hidden")
        check(self, at_least(0), "boxes", "descriptions")
        check(self, between(0, 1, "[)"), "dropout")

    def slotted(self, space: Backbone, run: Run) -> Backbone:
        """Return a copy of a backbone with new region slots; one that has slots is returned as it is.

        Raises:
            MissingHook: its image tower takes none.
        """
        if any(change.kind == CHANGE for change in space.spec.changes):
            return space
        names = ("regions", "width", "depth", "heads", "hidden", "dropout")
        with run.seeded("slots"):
            copy = changed(space, CHANGE, **{name: getattr(self, name) for name in names})
        assert isinstance(copy, Backbone)  # a change keeps the kind
        return copy

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee, on a copy of the backbone with slots.

        Raises:
            MissingEvidence: there are no training rows.
            DataError: the rows have no regions.
            MissingHook: the image tower takes no slots.
        """
        space = kit.need(Backbone)
        for table in filter(None, (training_rows(evidence, "grain"), evidence.val)):
            if not has_regions(table):
                raise DataError("grain reads regions, and the rows have none: give boxes with phrases as {regions}.")
        yield _Grained(self, self.slotted(space, run), run, learns)
