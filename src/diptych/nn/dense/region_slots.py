"""What the region slots of a model read in pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize
from torchvision.ops import box_convert

from diptych.backbones.towers.region_slots import RegionSlots
from diptych.core.backbone import Inputs, Space
from diptych.core.errors import MissingHook


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
    found = getattr(getattr(space.module(), "visual", None), "attn_pool", None)
    if not isinstance(found, RegionSlots):
        raise MissingHook(f"{space.spec.name} has no region slots: train it with the objective grain first.")
    return found


def read_slots(space: Space, x: Inputs) -> Slots:
    """Return the slots of B pictures. The gradient mode stays as it is.

    Raises:
        MissingHook: it has no region slots.
    """
    decoder, visual, tower = decoder_of(space), _visual(space), space.tower("image")
    h = visual.ln_post(decoder(tower.blocks(tower.start(x)).h))
    regions, boxes = decoder.regions(h)
    return Slots((h[:, 0] @ visual.proj).float(), regions.float(), box_convert(boxes.float(), "cxcywh", "xyxy"))


def slot_scores(slots: Slots, head: Tensor, descriptions: Tensor, owner: Tensor, alpha: float) -> Tensor:
    """Return the (B, K) scores of classes, by the image slot and by the region slots.

        s_c = alpha v . w_c + (1 - alpha) mean over q of max over the descriptions d of c of r_q . d

    v, r_q: unit embeddings of the image slot and of the region slots;  w_c: class vector

    Args:
        slots: of B pictures.
        head: (K, D) class vectors.
        descriptions: (M, D) unit embeddings of descriptions; each class has at least one.
        owner: (M,) class of each.
        alpha: share of the image slot, in [0, 1]; 1 (the authors' default).

    Source: Chowdhury et al. 2024, the authors' evaluation.

    Example:
        >>> import torch
        >>> eye = torch.eye(2)
        >>> slots = Slots(eye[:1], eye[None], torch.zeros(1, 2, 4))
        >>> slot_scores(slots, eye, eye, torch.tensor([0, 1]), alpha=0.5).tolist()
        [[0.75, 0.25]]
    """
    whole = normalize(slots.image, dim=-1) @ head.T
    cosines = normalize(slots.regions, dim=-1) @ descriptions.T
    best = cosines.new_full((*cosines.shape[:2], len(head)), float("-inf"))
    best = best.scatter_reduce(2, owner.expand_as(cosines), cosines, "amax")
    return alpha * whole + (1 - alpha) * best.mean(1)


def _visual(space: Space) -> Any:
    module: Any = space.module()
    return module.visual
