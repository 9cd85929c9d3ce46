"""What the region slots of a model read in pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torchvision.ops import box_convert

from diptych.backbones.towers.region_slots import RegionSlots
from diptych.core import Inputs, MissingHook, Space


@dataclass(frozen=True)
class Slots:
    """The slots of B pictures.

    Args:
        image: (B, D) embeddings of the image slots, not normalised: those of the image encoder.
        regions: (B, Q, D) embeddings of the region slots, not normalised.
        boxes: (B, Q, 4) their boxes, x0 y0 x1 y1 in [0, 1] of what the tower sees, up to its border and a little over.
    """

    image: Tensor
    regions: Tensor
    boxes: Tensor


def decoder_of(space: Space) -> RegionSlots:
    """Return the decoder of a space's image tower.

    Raises:
        MissingHook: it has none.
    """
    pool = getattr(getattr(space.module(), "visual", None), "attn_pool", None)
    if not isinstance(pool, RegionSlots):
        raise MissingHook(f"{space.spec.name} has no region slots: train it with the objective grain first.")
    return pool


def read_slots(space: Space, x: Inputs) -> Slots:
    """Return the slots of B pictures. The gradient mode stays as it is.

    Raises:
        MissingHook: it has no region slots.
    """
    decoder, visual, tower = decoder_of(space), _visual(space), space.tower("image")
    h = visual.ln_post(decoder(tower.blocks(tower.start(x)).h))
    regions, boxes = decoder.regions(h)
    return Slots((h[:, 0] @ visual.proj).float(), regions.float(), box_convert(boxes.float(), "cxcywh", "xyxy"))


def _visual(space: Space) -> Any:
    module: Any = space.module()
    return module.visual
