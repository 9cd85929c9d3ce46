"""A coarse label map, refined by prompts: SAM draws each connected part of each class anew.

    part      an 8-connected set of pixels whose best class is k, with P_k >= coarse
    prompts   its box, its surest pixel, and P_k as a rough mask
    P'_k(u) = max over parts of class k of { sigmoid(m(u)) P_k(u)  in m(u) > 0, if SAM's estimate of m exceeds `iou`
                                           { P_k(u)                inside the part, if not

P: (K, H, W) class probabilities;  m: (H, W) SAM's mask logits
Pixels of no part, and of no accepted mask, keep their coarse probabilities.

Source: Trident (Shi et al. 2024), the refinement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.core import PromptableMasks, Prompts
from diptych.core.ranges import at_least, between, check


@dataclass(frozen=True)
class Refinement:
    """How coarse labels become prompts.

    Args:
        coarse: least probability of pixels that become parts, in [0, 1]; below it pixels are in no part.
        iou: SAM's own estimate above which a mask is taken, in [0, 1].
        least: pixels of the smallest part, >= 1.
        inside, outside: factors of the probabilities in the rough mask, where they exceed ``coarse`` and elsewhere.
        most: parts at most, largest first, >= 1.

    Raises:
        UsageError: a number outside its range.
    """

    coarse: float = 0.2
    iou: float = 0.8
    least: int = 225
    inside: float = 0.005
    outside: float = 0.0
    most: int = 100

    def __post_init__(self) -> None:
        check(self, between(0, 1), "coarse", "iou")
        check(self, at_least(1), "least", "most")


@dataclass(frozen=True)
class Part:
    """One connected part of a class.

    Args:
        mask: (H, W) bool.
    """

    label: int
    mask: Tensor


def parts(p: Tensor, rule: Refinement) -> list[Part]:
    """Return the connected parts of a coarse map, largest first.

    Args:
        p: (K, H, W) probabilities.
        rule: how.
    """
    from scipy.ndimage import label as components

    best, labels = p.max(0)
    labels = torch.where(best >= rule.coarse, labels, -1)
    every = []
    for k in sorted(set(labels.flatten().tolist()) - {-1}):
        numbers, count = components((labels == k).numpy(), np.ones((3, 3)))
        numbered = torch.from_numpy(numbers)
        every += [Part(int(k), numbered == n) for n in range(1, count + 1)]
    large = [part for part in every if int(part.mask.sum()) >= rule.least]
    return sorted(large, key=lambda part: -int(part.mask.sum()))[: rule.most]


def prompts_of(p: Tensor, shapes: list[Part], rule: Refinement, scale: tuple[float, float]) -> Prompts:
    """Return a box, a point and a rough mask for each part.

    Args:
        p: (K, H, W) probabilities.
        shapes: parts of it.
        rule: how.
        scale: pixels of the image a pixel of the map, (vertical, horizontal).
    """
    from torchvision.ops import masks_to_boxes

    masks = torch.stack([part.mask for part in shapes])
    at = torch.stack([p[part.label].masked_fill(~part.mask, -1.0).flatten().argmax() for part in shapes])
    width, along = p.shape[2], torch.tensor([scale[1], scale[0]])
    points = (torch.stack([at % width, at // width], dim=-1) + 0.5) * along
    boxes = masks_to_boxes(masks)
    boxes[:, 2:] += 1  # the corner behind the last pixel
    of_class = torch.stack([p[part.label] for part in shapes])
    rough = of_class * torch.where(of_class > rule.coarse, rule.inside, rule.outside)
    return Prompts(points[:, None], None, boxes * along.repeat(2), rough)


def refined(image: Any, p: Tensor, masks: PromptableMasks, rule: Refinement) -> Tensor:
    """Return P', (K, H, W), of a coarse map.

    Args:
        image: the photo, of any size.
        p: (K, H, W) probabilities at any size of the same ratio.
        masks: draws.
        rule: how.
    """
    islands = parts(p, rule)
    if not islands:
        return p
    seen = masks.see(image)
    height, width = p.shape[1:]
    prompts = prompts_of(p, islands, rule, (seen.size[0] / height, seen.size[1] / width))
    drawn, touched = torch.zeros_like(p), torch.zeros((height, width), dtype=torch.bool)
    for start in range(0, len(islands), 16):
        some = islands[start : start + 16]
        answer = masks.ask(seen, _some(prompts, start, start + 16))
        logits = torch.nn.functional.interpolate(answer.logits[:, :1], (height, width), mode="bilinear")[:, 0].cpu()
        for part, m, iou in zip(some, logits, answer.iou[:, 0].tolist(), strict=True):
            k = part.label
            taken = iou > rule.iou
            inside = m > 0 if taken else part.mask
            value = m.sigmoid() * p[k] if taken else p[k]
            drawn[k] = torch.where(inside, torch.maximum(drawn[k], value), drawn[k])
            touched |= inside
    return torch.where(touched, drawn, p)


def _some(prompts: Prompts, start: int, stop: int) -> Prompts:
    return Prompts(
        *(None if t is None else t[start:stop] for t in (prompts.points, prompts.labels, prompts.boxes, prompts.masks))
    )
