"""SAM and SAM 2 by name, from folders in transformers' format; SAM from its authors' file too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diptych.backbones.hub import is_offline, repository
from diptych.backbones.names import parse
from diptych.backbones.transformers_weights import read_model
from diptych.core import DataError, PromptableMasks, UsageError
from diptych.data.files import read_json

_FILES = ("config.json", "*processor_config.json", "*.safetensors", "tokenizer*", "vocab*", "merges*", "special*")
PROMPTABLE = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}
"""Type of a model -> its class in transformers."""


def load_promptable(name: str, *, offline: bool | None = None) -> PromptableMasks:
    """Load SAM or SAM 2.

    Args:
        name: "hf:facebook/sam-vit-base", "local:PATH" or a folder in transformers' format, or a file of SAM as its
            authors released it, such as sam_vit_b_01ec64.pth.
        offline: whether to avoid the network; None: as in HF_HUB_OFFLINE.

    Raises:
        UsageError: the name is no hub repository or folder, or holds another kind of model.
        NotAvailable: it is not on this machine, and may not or cannot be fetched.
        DataError: its config or its file is damaged.
    """
    if (file := file_of(name)) is not None:
        return sam_of(file)
    folder = folder_of(name, offline)
    kind = kind_of(folder)
    if kind not in PROMPTABLE:
        raise UsageError(
            f"{name} is a {kind!r}, which takes no points or boxes: give a SAM or SAM 2, such as "
            "hf:facebook/sam-vit-base."
        )
    return sam_in(folder, kind)


def sam_in(folder: Path, kind: str) -> PromptableMasks:
    """Load a SAM of a folder, with its processor where there is one."""
    from diptych.backbones.mask_models.sam import SamMasks

    has = (folder / "preprocessor_config.json").is_file() or (folder / "processor_config.json").is_file()
    return SamMasks(model_in(folder, PROMPTABLE[kind]), processor_in(folder, "AutoImageProcessor") if has else None)


def file_of(name: str) -> Path | None:
    """Return the file that a name or a path gives, None where it gives none."""
    path = Path(name.removeprefix("local:")).expanduser()
    return path if path.is_file() else None


def sam_of(file: Path) -> PromptableMasks:
    """Load a SAM of its authors' file."""
    from diptych.backbones.mask_models.sam_files import read_sam

    return read_sam(file)


def folder_of(name: str, offline: bool | None) -> Path:
    """Return the local folder of a name.

    Raises:
        UsageError: it is no hub repository or folder.
        NotAvailable: it is not on this machine, and may not or cannot be fetched.
    """
    try:
        parsed = parse(name)
    except UsageError:
        parsed = None
    if parsed is None or parsed.kind not in ("hf", "hf-hub", "local"):
        raise UsageError(f"{name!r} is no mask model: give hf:org/name, or a folder in transformers' format.")
    if parsed.path is None:
        return repository(parsed.repository, _FILES, offline=is_offline(offline), revision=parsed.revision)
    if not parsed.path.is_dir():
        raise UsageError(f"There is no folder or file {parsed.path}: check the path.")
    return parsed.path


def kind_of(folder: Path) -> str:
    """Return the type of the model in a folder, as its config states it."""
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} has no config.json: name a folder in transformers' format.")
    return str(read_json(folder / "config.json").get("model_type", "unknown"))


def model_in(folder: Path, kind: str) -> Any:
    """Load a folder as a class of transformers; raises DataError where it does not load."""
    import transformers

    model = read_model(getattr(transformers, kind), folder, use_safetensors=True)
    return model.float()  # it comes as it is stored, in half precision perhaps


def processor_in(folder: Path, kind: str) -> Any:
    """Load the processor of a folder; raises DataError where it does not load."""
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} has no {kind} that loads ({str(error)[:80]}): fetch it again.") from None
