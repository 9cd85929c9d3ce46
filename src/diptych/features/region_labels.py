"""Regions for photos that have captions alone: a proposer finds places, and a backbone says which phrase names which.

    m_k     = argmax over boxes b of cos(I(crop b), T(phrase k)),   kept where
    cos(I(crop m_k), T(phrase k)) > cos(I(photo), T(phrase k)) + margin

I, T: unit embeddings of a backbone;  crop b: the photo cut to box b
phrases: noun phrases of the photo's captions, or what a captioner writes of each crop

So a phrase has one box at most: the one that shows it better than the others do, and than the whole photo does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.ops import box_iou, masks_to_boxes, nms

from diptych.core.backbone import Backbone
from diptych.core.data import Column, Table
from diptych.core.language import Ask, Writer
from diptych.core.masks import MaskProposer
from diptych.core.ranges import at_least, between, check
from diptych.core.run import Run
from diptych.data.formats.regions import Boxes, boxes
from diptych.data.words.noun_phrases import noun_phrases

AT_ONCE = 64
"""Crops in one batch."""


@dataclass(frozen=True)
class RegionLabels:
    """How regions are labelled.

    Args:
        most: boxes of a photo that are looked at, largest first, >= 1; 24.
        least: smallest share of the photo of a box, in [0, 1]; 0.01.
        same: IoU above which of two boxes the later one is left out, in [0, 1]; 0.7.
        margin: cosine by which a crop must beat the whole photo, in [-2, 2]; 0.0.

    Raises:
        UsageError: a number is out of its range.
    """

    most: int = 24
    least: float = 0.01
    same: float = 0.7
    margin: float = 0.0

    def __post_init__(self) -> None:
        check(self, at_least(1), "most")
        check(self, between(0, 1), "least", "same")
        check(self, between(-2, 2), "margin")

    def of(
        self, table: Table[Any], backbone: Backbone, proposer: MaskProposer, run: Run, writer: Writer | None = None
    ) -> Table[Any]:
        """Return a table of photos with the columns "boxes" and "phrases" beside its own.

        Args:
            table: photos with "captions", or without where there is a writer.
            backbone: compares crops with phrases.
            proposer: finds places.
            run: device and progress.
            writer: a captioner, which is asked about each crop; None: noun phrases of the captions.
        """
        found: list[Boxes] = []
        told: list[tuple[str, ...]] = []
        captions = table.columns["captions"].values if "captions" in table.columns else ((),) * len(table)
        with run.track("label regions", len(table)) as bar:
            for i in range(len(table)):
                image = table.items[i].convert("RGB")
                places = self.proposed(image, proposer)
                crops = [image.crop(tuple(box.round().int().tolist())) for box in places]
                said: Sequence[str]
                if writer is None:
                    said = tuple(dict.fromkeys(p for c in _listed(captions[i]) for p in noun_phrases(c)))
                else:
                    replies = writer.write([Ask("Describe the picture in a few words.", image=crop) for crop in crops])
                    said = tuple(dict.fromkeys(t.value for reply in replies for t in reply if t.value.strip()))
                rows, names = self.named([image, *crops], said, backbone, run)
                found.append(boxes(places[rows].tolist(), "xyxy", [-1] * len(rows)))
                told.append(names)
                bar.advance()
        columns = {"boxes": Column("boxes", tuple(found)), "phrases": Column("captions", tuple(told))}
        return Table(table.items, {**table.columns, **columns})

    def proposed(self, image: Any, proposer: MaskProposer) -> Tensor:
        """Return the (n, 4) boxes round a proposer's masks, x0 y0 x1 y1 in pixels of a photo, largest first."""
        found = proposer.propose(image)
        masks = found.masks > 0.5
        masks = masks[masks.flatten(1).any(1)]
        cells = torch.tensor([masks.shape[2], masks.shape[1]] * 2)
        size = torch.tensor([image.width, image.height] * 2)
        corners: Tensor = masks_to_boxes(masks) + torch.tensor([0.0, 0.0, 1.0, 1.0])  # the last cell is inside
        corners = corners / cells * size
        area = (corners[:, 2:] - corners[:, :2]).prod(1)
        large = (area >= self.least * image.width * image.height) & (corners[:, 2:] - corners[:, :2] >= 2).all(1)
        corners, area = corners[large], area[large]
        kept: Tensor = nms(corners, area, self.same)[: self.most]
        return corners[kept]

    @torch.no_grad()
    def named(
        self, pictures: Sequence[Any], phrases: Sequence[str], backbone: Backbone, run: Run
    ) -> tuple[list[int], tuple[str, ...]]:
        """Return the numbers of the crops that are named, and their phrases.

        Args:
            pictures: the photo, then its crops.
            phrases: what may be there.
            backbone: compares both.
            run: device.
        """
        if not phrases or len(pictures) == 1:
            return [], ()
        parts = [
            backbone.image.encode(backbone.image.inputs(pictures[k : k + AT_ONCE]))
            for k in range(0, len(pictures), AT_ONCE)
        ]
        t = normalize(backbone.text.encode(backbone.text.inputs(list(phrases))), dim=-1)
        cosines = (normalize(torch.cat(parts), dim=-1) @ t.T).cpu()
        best, box = cosines[1:].max(0)
        kept = [k for k in range(len(phrases)) if best[k] > cosines[0, k] + self.margin]
        return [int(box[k]) for k in kept], tuple(phrases[k] for k in kept)


def _listed(captions: Any) -> tuple[str, ...]:
    return (captions,) if isinstance(captions, str) else tuple(captions)


def agreement(
    labelled: Table[Any], truth: Sequence[Boxes], classes: Sequence[str], least: float = 0.5
) -> dict[str, NDArray[np.float64]]:
    """Return how well labelled regions agree with instance boxes: one value a region whose phrase names a class.

    A phrase names the class whose name it ends in, singular or plural. It is right where an instance of the class
    has an IoU of ``least`` with the box.

    Args:
        labelled: N photos with "boxes" and "phrases".
        truth: N photos' instances, with labels.
        classes: names of the labels.
        least: IoU, in (0, 1].

    Returns:
        "right": 1.0 or 0.0 of each region; "iou": the best IoU with an instance of the class; "present": 1.0 where
        the photo has an instance of the class at all.
    """
    out: dict[str, list[float]] = {"right": [], "iou": [], "present": []}
    for i in range(len(labelled)):
        found, phrases = (labelled.columns[name].values[i] for name in ("boxes", "phrases"))
        for box, phrase in zip(found.corners, phrases, strict=True):
            k = next((k for k, name in enumerate(classes) if _ends_in(phrase, name)), None)
            if k is None:
                continue
            own = truth[i].corners[truth[i].labels == k]
            iou = float(box_iou(torch.from_numpy(box[None]), torch.from_numpy(own)).max()) if len(own) else 0.0
            out["right"].append(float(iou >= least))
            out["iou"].append(iou)
            out["present"].append(float(len(own) > 0))
    return {name: np.array(values) for name, values in out.items()}


def _ends_in(phrase: str, name: str) -> bool:
    words, own = phrase.lower().split(), name.lower().split()
    last = words[-len(own) :]
    return last == own or [*last[:-1], last[-1].removesuffix("s")] == own if len(last) == len(own) else False
