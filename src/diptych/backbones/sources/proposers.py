"""Mask proposers by name: without weights, with ours, on an encoder, or from folders in transformers' format."""

from __future__ import annotations

from diptych.backbones.sources.promptable import (
    PROMPTABLE,
    file_of,
    folder_of,
    kind_of,
    model_in,
    processor_in,
    sam_in,
    sam_of,
)
from diptych.core import MaskProposer, UsageError

AUTO = "auto"
"""The system's own choice, in the place of a name; ``load_proposer`` does not know it."""
MERGED = "merged-cells"
"""The proposer without weights."""
_PROPOSERS = {
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "clipseg": "CLIPSegForImageSegmentation",
    "owlvit": "OwlViTForObjectDetection",
    "owlv2": "Owlv2ForObjectDetection",
}
"""Type of a model -> its class in transformers."""
RANKED = "ranked-cells"
"""The proposer that ships its weights, which read the maps of ``lite``."""


def load_proposer(name: str = MERGED, *, offline: bool | None = None) -> MaskProposer:
    """Load a mask proposer.

    Args:
        name: "merged-cells", which needs no weights; "merged-cells:SPACE", which adds features of an encoder, such as
            "merged-cells:lite" (see ``sources.vision.load_vision``); "ranked-cells", which was trained on composed
            pictures (``recipes.mask_proposer``); or Mask2Former, SAM or SAM 2 (a grid of points), CLIPSeg, OWL-ViT or
            OWLv2 (what words name) as "hf:org/name", "local:PATH" or a folder in transformers' format; or a file of SAM
            as its authors released it.
        offline: whether to avoid the network; None: as in HF_HUB_OFFLINE.

    Raises:
        UsageError: the name is none of these.
        NotAvailable: it is not on this machine, and may not or cannot be fetched.
        DataError: its config is damaged.

    Example:
        >>> from PIL import Image
        >>> len(load_proposer().propose(Image.new("RGB", (20, 10), "red"))) > 0
        True
    """
    plain, _, encoder = name.partition(":")
    if plain == MERGED:
        from diptych.backbones.mask_models.merged_cells import MergedCells
        from diptych.backbones.sources.vision import load_vision

        return MergedCells(encoder=load_vision(encoder, offline=offline) if encoder else None)
    if name == RANKED:
        from diptych.backbones.mask_models.ranked_cells import RankedCells, load_scorer
        from diptych.backbones.sources.vision import load_vision

        return RankedCells(load_vision("lite:2026-11", offline=offline), load_scorer())
    if (file := file_of(name)) is not None:
        from diptych.backbones.mask_models.point_grid import PointGrid

        return PointGrid(sam_of(file))
    folder = folder_of(name, offline)
    kind = kind_of(folder)
    if kind in PROMPTABLE:
        from diptych.backbones.mask_models.point_grid import PointGrid

        return PointGrid(sam_in(folder, kind))
    if kind == "mask2former":
        from diptych.backbones.mask_models.transformers_models import Mask2FormerProposals

        return Mask2FormerProposals(model_in(folder, _PROPOSERS[kind]), processor_in(folder, "AutoImageProcessor"))
    if kind == "clipseg":
        from diptych.backbones.mask_models.transformers_models import ClipSegProposals

        return ClipSegProposals(model_in(folder, _PROPOSERS[kind]), processor_in(folder, "CLIPSegProcessor"))
    if kind in ("owlvit", "owlv2"):
        from diptych.backbones.mask_models.transformers_models import OwlProposals

        return OwlProposals(model_in(folder, _PROPOSERS[kind]), processor_in(folder, "AutoProcessor"))
    known = ", ".join(sorted([*PROMPTABLE, *_PROPOSERS]))
    raise UsageError(f"{name} is a {kind!r}, which proposes no masks: give {MERGED}, {RANKED}, or one of {known}.")
