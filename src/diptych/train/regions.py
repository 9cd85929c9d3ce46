"""Pairs of images and captions whose images also have regions: boxes, and a phrase for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diptych.core import DataError, Embedded, Learns, PixelRecipe, Row, Run, Space, Table
from diptych.core.train import everything
from diptych.data.formats.regions import framed
from diptych.features.whole_and_cells import whole_and_cells
from diptych.train.distributed import gather
from diptych.train.pair import PairTrainee, Read, View

VISIBLE = 0.5
"""Least share of a box that must lie inside what the tower sees."""


def has_regions(table: Table[Any]) -> bool:
    """Return whether a table has the columns "boxes" and "phrases"."""
    return {"boxes", "phrases"} <= table.columns.keys()


def drawn_regions(
    row: Row, recipe: PixelRecipe, most: int, g: torch.Generator | None
) -> tuple[Tensor, tuple[str, ...]]:
    """Return m <= ``most`` regions of a row: (m, 4) boxes in [0, 1] of what the tower sees, and their phrases.

    Groups of objects, and boxes that the crop of the pixel recipe hides for the greater part, are left out.

    Args:
        row: its item has a size in pixels; "boxes" and "phrases" of one length.
        recipe: how the image becomes the input of the tower.
        most: >= 1.
        g: draws them; None: the first ones.

    Raises:
        DataError: boxes and phrases differ in number.
    """
    boxes, phrases = row.columns["boxes"], row.columns["phrases"]
    if len(boxes.corners) != len(phrases):
        raise DataError(
            f"Row {row.index} has {len(boxes.corners)} boxes and {len(phrases)} phrases: give one phrase a box."
        )
    corners, share = framed(boxes.corners, row.item.size, recipe)
    good = [i for i in range(len(phrases)) if share[i] >= VISIBLE and not boxes.crowd[i] and phrases[i].strip()]
    if g is not None and len(good) > most:
        good = sorted(good[k] for k in torch.randperm(len(good), generator=g)[:most].tolist())
    good = good[:most]
    return torch.from_numpy(corners[good]).float().reshape(-1, 4), tuple(phrases[i] for i in good)


class RegionTrainee(PairTrainee):
    """Trains pairs and regions; a subclass defines ``losses`` on ``embed_regions``.

    A batch has, beside "image" and "text", "boxes" (b, 4), "owner" (b,), the number of the image of each box, and
    "phrases", the inputs of the text encoder, which is absent where b = 0.

    Args:
        space, run, read, learns: as for ``PairTrainee``.
        most: regions of an image, at most, >= 1.
        draws: whether regions are drawn where there are more; False takes the first ones.
    """

    def __init__(
        self,
        space: Space,
        run: Run,
        *,
        most: int,
        draws: bool = True,
        read: Mapping[str, Read | View] | None = None,
        learns: Learns = everything,
    ) -> None:
        super().__init__(space, None, run, read=read, learns=learns)
        self.most, self.draws = most, draws

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the image, a drawn caption, and under "regions" boxes and phrases."""
        views = super().views(row, g)
        return {**views, "regions": drawn_regions(row, self.space.spec.pixels, self.most, g if self.draws else None)}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the inputs of the encoders, and the regions of all images one after the other."""
        boxes, phrases = zip(*(v["regions"] for v in views), strict=True)
        owner = torch.repeat_interleave(torch.arange(len(views)), torch.tensor([len(b) for b in boxes]))
        batch = {**super().collate(views), "boxes": torch.cat(boxes), "owner": owner}
        all_phrases = [p for of_image in phrases for p in of_image]
        return {**batch, "phrases": self.space.encoders["text"].inputs(all_phrases)} if all_phrases else batch

    def embed_regions(self, batch: Mapping[str, Any]) -> tuple[Embedded, Tensor, Tensor]:
        """Return the pairs of a batch, the (B, C, h, w) image tokens, and the (b, D) embeddings of the phrases."""
        whole, cells = whole_and_cells(self.space, batch["image"])
        encode = self.space.encoders["text"].encode
        vectors = {"image": whole, "text": encode(batch["text"])}
        embedded = encode(batch["phrases"]) if "phrases" in batch else whole.new_zeros(0, whole.shape[1])
        e = Embedded(vectors, self.scale, gather(self.run.world), self.run.world.rank)
        return e, cells, embedded
