"""Regions for photos that have captions alone: a proposer finds places, and a backbone says which phrase names which.

    m_k     = argmax over boxes b of cos(I(crop b), T(phrase k)),   kept where
    cos(I(crop m_k), T(phrase k)) > cos(I(photo), T(phrase k)) + margin

I, T: unit embeddings of a backbone;  crop b: the photo cut to box b
phrases: noun phrases of the photo's captions, or what a captioner writes of each crop

So a phrase has one box at most: the one that shows it better than the others do, and than the whole photo does. A
proposer that reads words, such as an open-vocabulary detector, gets the phrases: a phrase then has the surest of its
boxes, and the backbone is not asked.
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

from diptych.core import Ask, Backbone, Column, MaskProposer, Proposals, Run, Table, Writer
from diptych.core.ranges import at_least, between, check
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
        sure: smallest score of a box that a proposer of words finds, in [0, 1]; 0.1.

    Raises:
        UsageError: a number is out of its range.
    """

    most: int = 24
    least: float = 0.01
    same: float = 0.7
    margin: float = 0.0
    sure: float = 0.1

    def __post_init__(self) -> None:
        check(self, at_least(1), "most")
        check(self, between(0, 1), "least", "same", "sure")
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

        Raises:
            UsageError: the proposer finds words, and a writer is to name what it finds.
        """
        every: list[Boxes] = []
        phrases: list[tuple[str, ...]] = []
        captions = table.columns["captions"].values if "captions" in table.columns else ((),) * len(table)
        with run.track("label regions", len(table)) as bar:
            for i in range(len(table)):
                corners, names = self.regions(table.items[i], listed(captions[i]), backbone, proposer, run, writer)
                every.append(boxes(corners.tolist(), "xyxy", [-1] * len(names)))
                phrases.append(names)
                bar.advance()
        columns = {"boxes": Column("boxes", tuple(every)), "phrases": Column("captions", tuple(phrases))}
        return Table(table.items, {**table.columns, **columns})

    def regions(
        self,
        photo: Any,
        captions: Sequence[str],
        backbone: Backbone,
        proposer: MaskProposer,
        run: Run,
        writer: Writer | None = None,
    ) -> tuple[Tensor, tuple[str, ...]]:
        """Return the (n, 4) boxes of one photo, x0 y0 x1 y1 in pixels, and their phrases; see ``of``."""
        image = photo.convert("RGB")
        phrases = () if writer else tuple(dict.fromkeys(p for c in captions for p in noun_phrases(c)))
        if writer is None and not phrases:
            return torch.zeros(0, 4), ()
        proposals = proposer.propose(image, phrases)
        if proposals.words is not None:
            return self.detected(proposals, proposals.words, phrases)
        places = self.places(proposals)
        crops = [image.crop(tuple(box.round().int().tolist())) for box in places]
        if writer is not None:
            replies = writer.write([Ask("Describe the picture in a few words.", image=crop) for crop in crops])
            phrases = tuple(dict.fromkeys(t.value for reply in replies for t in reply if t.value.strip()))
        rows, names = self.named([image, *crops], phrases, backbone, run)
        return places[rows], names

    def detected(self, proposals: Proposals, owner: Tensor, words: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
        """Return the surest box of each word that a proposer of words found, and these words; ``owner``: (Q,) words."""
        corners, large = self._boxes(proposals)
        scores = proposals.scores.where(large & (proposals.scores >= self.sure), -1.0)
        rows, names = list[int](), list[str]()
        for k, word in enumerate(words):
            of_phrase = scores.where(torch.eq(owner, k), -1.0)
            if len(of_phrase) and float(of_phrase.max()) >= 0:
                rows.append(int(of_phrase.argmax()))
                names.append(word)
        return corners[rows], tuple(names)

    def places(self, proposals: Proposals) -> Tensor:
        """Return the (n, 4) boxes of proposals, x0 y0 x1 y1 in pixels of a photo, largest first."""
        corners, large = self._boxes(proposals)
        corners = corners[large]
        area = (corners[:, 2:] - corners[:, :2]).prod(1)
        separate: Tensor = nms(corners, area, self.same)[: self.most]
        return corners[separate]

    def _boxes(self, proposals: Proposals) -> tuple[Tensor, Tensor]:
        """Return the (Q, 4) boxes of proposals, and (Q,) which of them are large enough."""
        height, width = proposals.size
        if proposals.boxes is None:
            masks = proposals.masks > 0.5
            there = masks.flatten(1).any(1)
            corners = torch.zeros(len(masks), 4)
            corners[there] = masks_to_boxes(masks[there]) + torch.tensor([0.0, 0.0, 1.0, 1.0])  # the last cell too
            corners = corners / torch.tensor([masks.shape[2], masks.shape[1]] * 2) * torch.tensor([width, height] * 2)
        else:
            corners = proposals.boxes
        sides = corners[:, 2:] - corners[:, :2]
        return corners, (sides.prod(1) >= self.least * width * height) & (sides >= 2).all(1)

    @torch.no_grad()
    def named(
        self, pictures: Sequence[Any], phrases: Sequence[str], backbone: Backbone, run: Run
    ) -> tuple[list[int], tuple[str, ...]]:
        """Return the numbers of the crops that are named, and their phrases; ``pictures`` begin with the photo."""
        if not phrases or len(pictures) == 1:
            return [], ()
        parts = [
            backbone.image.encode(backbone.image.inputs(pictures[k : k + AT_ONCE]))
            for k in range(0, len(pictures), AT_ONCE)
        ]
        t = normalize(backbone.text.encode(backbone.text.inputs(list(phrases))), dim=-1)
        cosines = (normalize(torch.cat(parts), dim=-1) @ t.T).cpu()
        best, box = cosines[1:].max(0)
        surpassing = [k for k in range(len(phrases)) if best[k] > cosines[0, k] + self.margin]
        return [int(box[k]) for k in surpassing], tuple(phrases[k] for k in surpassing)


def listed(captions: Any) -> tuple[str, ...]:
    """Return the captions of a row, which may be one text."""
    return (captions,) if isinstance(captions, str) else tuple(captions)


def agreement(labelled: Table[Any], truth: Sequence[Boxes], classes: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return how well labelled regions agree with instance boxes: one value per region whose phrase names a class.

    A phrase names the class whose name it ends in, singular or plural. It is right where an instance of the class
    has an IoU of at least 0.5 with the box.

    Args:
        labelled: N photos with "boxes" and "phrases".
        truth: N photos' instances, with labels.
        classes: names of the labels.

    Returns:
        "right": 1.0 or 0.0 of each region; "iou": the best IoU with an instance of the class; "present": 1.0 where
        the photo has an instance of the class at all.
    """
    out: dict[str, list[float]] = {"right": [], "iou": [], "present": []}
    for i in range(len(labelled)):
        boxes, phrases = (labelled.columns[name].values[i] for name in ("boxes", "phrases"))
        for box, phrase in zip(boxes.corners, phrases, strict=True):
            k = next((k for k, name in enumerate(classes) if _ends_in(phrase, name)), None)
            if k is None:
                continue
            corners = truth[i].corners[truth[i].labels == k]
            iou = float(box_iou(torch.from_numpy(box[None]), torch.from_numpy(corners)).max()) if len(corners) else 0.0
            out["right"].append(float(iou >= 0.5))
            out["iou"].append(iou)
            out["present"].append(float(len(corners) > 0))
    return {name: np.array(values) for name, values in out.items()}


def _ends_in(phrase: str, name: str) -> bool:
    words, ending = phrase.lower().split(), name.lower().split()
    last = words[-len(ending) :]
    return last == ending or [*last[:-1], last[-1].removesuffix("s")] == ending if len(last) == len(ending) else False
