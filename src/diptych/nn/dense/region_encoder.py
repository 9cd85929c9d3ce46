"""Embeddings of regions told to a model as boxes, where it has a prompter; of other models, crops are encoded.

A model that ``cloc`` trained sees the whole picture once for each region, and its prompter reads the box.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.backbones.spec import state_hash
from diptych.core import Backbone, Inputs
from diptych.data.formats.regions import framed
from diptych.data.region_items import Region
from diptych.features.derived_space import DerivedSpace
from diptych.features.whole_and_cells import whole_and_cells
from diptych.nn.dense.prompter import Prompter


@dataclass(frozen=True, eq=False)
class PromptedEncoder:
    """Encodes ``Region`` by a prompter.

    Args:
        space: sees whole pictures.
        prompter: that was trained with it.
    """

    space: Backbone
    prompter: Prompter
    modality: str = "region"

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.prompter.dim

    @property
    def size(self) -> int | None:
        """Side of the picture that the tower sees, in pixels."""
        return self.space.image.size

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the image encoder and the prompter."""
        return hashlib.sha256(f"{self.space.image.fingerprint}/{state_hash(self.prompter)}".encode()).hexdigest()[:16]

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Inputs:
        """Return "pixels" (B, 3, S, S) and "boxes" (B, 4), in [0, 1] of what the tower sees.

        A picture in the place of a ``Region`` is the region of its whole.
        """
        regions = [r if isinstance(r, Region) else Region.whole(r) for r in items]
        pixels = self.space.image.inputs([r.image for r in regions], size)
        boxes = [framed(r.corners, r.image.size, self.space.spec.pixels)[0] for r in regions]
        x = pixels if isinstance(pixels, Tensor) else pixels["pixels"]
        return {"pixels": x, "boxes": torch.from_numpy(np.concatenate(boxes)).float()}

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings, not normalised."""
        assert not isinstance(x, Tensor)
        _, cells = whole_and_cells(self.space, x["pixels"])
        boxes: Any = x["boxes"]
        return self.prompter.boxes(cells, boxes.to(cells), torch.arange(len(cells), device=cells.device))


def region_space(backbone: Backbone, prompter: Prompter | None) -> Backbone:
    """Return a space whose images are regions: by the prompter; without one, the backbone itself, for crops."""
    if prompter is None:
        return backbone
    device = next(backbone.module().parameters()).device
    return DerivedSpace(backbone, PromptedEncoder(backbone, prompter.to(device)), suffix="regions")
