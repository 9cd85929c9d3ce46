"""Mask models by name: proposers and promptable models, from folders in transformers' format or without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diptych.backbones.hub import is_offline, repository
from diptych.backbones.names import parse
from diptych.backbones.spec import read_json
from diptych.core.errors import DataError, NotAvailable, UsageError
from diptych.core.masks import MaskProposer, PromptableMasks

MERGED = "merged-cells"
"""The proposer without weights."""
_FILES = ("config.json", "*processor_config.json", "*.safetensors", "tokenizer*", "vocab*", "merges*", "special*")
_PROMPTABLE = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}
_PROPOSERS = {"mask2former": "Mask2FormerForUniversalSegmentation", "clipseg": "CLIPSegForImageSegmentation"}


def load_promptable(name: str, *, offline: bool | None = None) -> PromptableMasks:
    """Load SAM or SAM 2.

    Args:
        name: "hf:facebook/sam-vit-base", "local:PATH" or a folder in transformers' format.
        offline: whether to avoid the network; None: as in HF_HUB_OFFLINE.

    Raises:
        UsageError: the name is no hub repository or folder, or holds another kind of model.
        NotAvailable: it is not on this machine, and may not or cannot be fetched.
        DataError: its config is damaged.
    """
    folder = _folder(name, offline)
    kind = _kind(folder)
    if kind not in _PROMPTABLE:
        raise UsageError(
            f"{name} is a {kind!r}, which takes no points or boxes: give a SAM or SAM 2, such as "
            "hf:facebook/sam-vit-base."
        )
    return _sam(folder, kind)


def load_proposer(name: str = MERGED, *, offline: bool | None = None) -> MaskProposer:
    """Load a mask proposer.

    Args:
        name: "merged-cells", which needs no weights; or Mask2Former, CLIPSeg, SAM or SAM 2 (a grid of points) as
            "hf:org/name", "local:PATH" or a folder in transformers' format.
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
    if name == MERGED:
        from diptych.backbones.mask_models.merged_cells import MergedCells

        return MergedCells()
    folder = _folder(name, offline)
    kind = _kind(folder)
    if kind in _PROMPTABLE:
        from diptych.backbones.mask_models.point_grid import PointGrid

        return PointGrid(_sam(folder, kind))
    if kind == "mask2former":
        from diptych.backbones.mask_models.mask2former import Mask2FormerProposals

        return Mask2FormerProposals(_model(folder, _PROPOSERS[kind]), _processor(folder, "AutoImageProcessor"))
    if kind == "clipseg":
        from diptych.backbones.mask_models.clipseg import ClipSegProposals

        return ClipSegProposals(_model(folder, _PROPOSERS[kind]), _processor(folder, "CLIPSegProcessor"))
    known = ", ".join(sorted([*_PROMPTABLE, *_PROPOSERS]))
    raise UsageError(f"{name} is a {kind!r}, which proposes no masks: give {MERGED}, or one of {known}.")


def _sam(folder: Path, kind: str) -> PromptableMasks:
    from diptych.backbones.mask_models.sam import SamMasks

    has = (folder / "preprocessor_config.json").is_file() or (folder / "processor_config.json").is_file()
    return SamMasks(_model(folder, _PROMPTABLE[kind]), _processor(folder, "AutoImageProcessor") if has else None)


def _folder(name: str, offline: bool | None) -> Path:
    try:
        parsed = parse(name)
    except UsageError:
        parsed = None
    if parsed is None or parsed.kind not in ("hf", "hf-hub", "local"):
        raise UsageError(f"{name!r} is no mask model: give {MERGED}, hf:org/name, or a folder in transformers' format.")
    if parsed.path is None:
        return repository(parsed.repository, _FILES, offline=is_offline(offline), revision=parsed.revision)
    if not parsed.path.is_dir():
        raise NotAvailable(f"There is no folder {parsed.path}: check the path.")
    return parsed.path


def _kind(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} has no config.json: name a folder in transformers' format.")
    return str(read_json(folder / "config.json").get("model_type", "unknown"))


def _model(folder: Path, kind: str) -> Any:
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} cannot be loaded as {kind} ({str(error)[:80]}): fetch it again.") from None


def _processor(folder: Path, kind: str) -> Any:
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} has no {kind} that loads ({str(error)[:80]}): fetch it again.") from None
