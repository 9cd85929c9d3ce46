"""Boxes of photos in the place of photos, for every verb that takes them: told to a prompter, or cut out."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from diptych.backbones.names import parse
from diptych.backbones.sources.save import load_parts
from diptych.core import Backbone, UsageError
from diptych.data.formats.region_table import with_regions
from diptych.data.labelled import LabelledData
from diptych.data.region_items import Regions
from diptych.nn.dense.prompter import Prompter
from diptych.nn.dense.region_encoder import region_space

PART = "prompter"
"""Part of a trained model that reads boxes, see ``nn.dense.prompter``."""


def prompter_of(name: str) -> Prompter | None:
    """Return the prompter of a trained model by its name, "local:FOLDER"; None where it has none.

    Raises:
        DataError: the folder holds a part of this name that is no prompter.
    """
    try:
        path = parse(name).path
    except UsageError:
        return None
    tensors = load_parts(path).get(PART) if path is not None else None
    return None if tensors is None else Prompter.of(tensors)


@dataclass(frozen=True)
class RegionSource:
    """The boxes of some photos, and how a model is shown them.

    Args:
        prompter: of the model; None: crops are encoded.
    """

    regions: Regions
    prompter: Prompter | None

    @classmethod
    def open(
        cls, data: LabelledData, table: str | os.PathLike[str], backbone: str, *, decode: str = "exact"
    ) -> RegionSource:
        """Open the boxes of a table.

        Args:
            data: photos, all splits of which count.
            table: see ``data.formats.region_table.with_regions``.
            backbone: name of the model.
            decode: of the run; drafts have other sizes than those that boxes are told in.

        Raises:
            UsageError: drafts are to be decoded, or there is no such table.
            DataError: the table holds no box of these photos, or is not valid.
        """
        if decode != "exact":
            raise UsageError("Boxes are in pixels of whole photos: leave out {draft}, or {regions}.")
        prompter = prompter_of(backbone)
        with_boxes = with_regions(data, table)
        return cls(Regions.of(list(with_boxes.splits.values()), cut=prompter is None), prompter)

    @property
    def crops(self) -> Regions:
        """The same regions as pictures, to be shown."""
        return replace(self.regions, cut=True)

    @property
    def shown(self) -> Regions:
        """The regions as the space takes them."""
        return replace(self.regions, cut=self.prompter is None)

    def space(self, backbone: Backbone) -> Backbone:
        """Return the space that takes the regions."""
        return region_space(backbone, self.prompter)
