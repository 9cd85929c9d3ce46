"""Reads the parts of a pipeline of diffusers from its folder: its layout, networks, text encoders and JSON files.

Only safetensors are read, and no code of the folder runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diptych.backbones.diffusion.pipeline_texts import TextPart
from diptych.backbones.file_kinds import check_folder, check_weight_file
from diptych.core import DataError, UsageError
from diptych.core.wording import one_line


@dataclass(frozen=True)
class Layout:
    """How a pipeline's folder is laid out.

    Args:
        name: of the pipeline, as in model_index.json.
        encoders: greatest number of text encoders.
        parts: subfolders that it must have.
        flow: whether its denoiser predicts the velocity of a flow, and not noise.
    """

    name: str
    encoders: int
    parts: tuple[str, ...] = ("unet", "text_encoder", "scheduler")
    flow: bool = False


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("StableDiffusionPipeline", 1),
        Layout("StableDiffusionXLPipeline", 2),
        Layout(
            "StableDiffusion3Pipeline",
            3,
            ("transformer", "vae", "text_encoder", "text_encoder_2", "scheduler"),
            flow=True,
        ),
    )
}
"""Pipelines by the name in model_index.json."""
LOADS = "pipelines of Stable Diffusion 1, 2 and 3 and of SDXL that begin with words alone load"
"""What the sentence of a refusal says."""
LARGEST = 16 * 2**20
"""Bytes of a JSON file that is read."""
_WEIGHTS = re.compile(r"(diffusion_pytorch_model|model)(?:\.([\w-]+?))?(?:-\d{5}-of-\d{5})?\.safetensors", re.ASCII)


def layout_of(folder: Path) -> tuple[Layout, dict[str, Any]]:
    """Return the layout of a folder, as it says or as its subfolders show, and its model_index.json; {} without one.

    No weights are read.

    Raises:
        UsageError: there is no such folder.
        DataError: it has another layout, or lacks a part.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: give one that holds a pipeline of diffusers.")
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    name = index.get("_class_name")
    if name is None:
        two = (folder / "text_encoder_2").is_dir()
        name = "StableDiffusionXLPipeline" if two else "StableDiffusionPipeline"
        name = "StableDiffusion3Pipeline" if (folder / "transformer").is_dir() else name
    if name not in LAYOUTS:
        raise DataError(f"{folder} holds a {str(name)[:60]}, and {LOADS}: give one of these.")
    if missing := [part for part in LAYOUTS[name].parts if not is_part(folder, index, part)]:
        raise DataError(
            f"{folder} has no {missing[0]}, so it holds no pipeline in the layout of Stable Diffusion, and {LOADS}: "
            f"give one of these."
        )
    return LAYOUTS[name], index


def scheduler_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of the scheduler.

    Raises:
        DataError: it cannot be read.
    """
    return read_json(folder / "scheduler" / "scheduler_config.json")


def variant_of(part: Path) -> str | None:
    """Return which files of a part's folder are read: None for the plain ones, else a variant's name.

    Raises:
        DataError: it has no safetensors, several variants of which none is fp16, or an index that leaves the folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "model.fp16.safetensors").touch()
        ...     variant_of(Path(folder))
        'fp16'
    """
    matches = [m for path in sorted(part.glob("*.safetensors")) if (m := _WEIGHTS.fullmatch(path.name))]
    variants = {m[2] for m in matches}
    if not variants:
        raise DataError(
            f"{part} holds no weights in safetensors: save the pipeline with save_pretrained(folder, "
            f"safe_serialization=True)."
        )
    for path in part.glob("*.index*.json"):
        shards = read_json(path).get("weight_map", {})
        if not all(_WEIGHTS.fullmatch(str(name)) for name in shards.values()):
            raise DataError(f"{path} names files that are no safetensors beside it: save the pipeline anew.")
    if None in variants:
        return None
    if len(variants) > 1 and "fp16" not in variants:
        names = ", ".join(sorted(map(str, variants)))
        raise DataError(f"{part} holds several variants, {names}: leave the files of one there.")
    return "fp16" if "fp16" in variants else str(variants.pop())


def is_part(folder: Path, index: Mapping[str, Any], name: str) -> bool:
    """Return whether a part is there and not left out by model_index.json, which writes [null, null] for that."""
    return (folder / name).is_dir() and index.get(name, [name]) != [None, None]


def clip_texts(kind: Any, folder: Path, suffix: str, dtype: torch.dtype, *, penultimate: bool) -> TextPart:
    """Return a text encoder of CLIP with its tokenizer, whose folders' names end in a suffix."""
    from transformers import CLIPTokenizer

    encoder = network(kind, folder / f"text_encoder{suffix}", dtype=dtype)
    tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}", local_files_only=True)
    return TextPart(encoder, tokenizer, penultimate)


def autoencoder(kind: Any, part: Path, dtype: torch.dtype) -> Any:
    """Return an autoencoder; one that overflows in float16 is of float32 then."""
    config = read_json(part / "config.json")
    overflows = dtype == torch.float16 and bool(config.get("force_upcast", True))
    return network(kind, part, torch_dtype=torch.float32 if overflows else dtype)


def network(kind: Any, part: Path, **precision: torch.dtype) -> Any:
    """Return a network of a fixed class with all its weights.

    Raises:
        DataError: weights are missing, or a file is a web page or a git-lfs pointer.
    """
    check_folder(part)
    for file in sorted(part.glob("*.safetensors")):
        check_weight_file(file)
    loaded, info = kind.from_pretrained(
        part,
        variant=variant_of(part),
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        **precision,
    )
    if missing := sorted(info["missing_keys"]):
        raise DataError(f"{part} lacks {len(missing)} weights, among them {missing[0]}: save the pipeline anew.")
    return loaded


@contextmanager
def named(folder: Path) -> Iterator[None]:
    """Turn errors of the libraries into one sentence that names the folder."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        words = one_line(str(error))[:120]
        raise DataError(
            f"{folder} holds no pipeline in the layout of Stable Diffusion in safetensors ({words}): save it with "
            f"save_pretrained(folder, safe_serialization=True)."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file.

    Raises:
        DataError: it cannot be read, is too large, or holds something else.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} is larger than {LARGEST // 2**20} MB: it is no configuration of a pipeline.")
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({str(error)[:80]}): save the pipeline anew.") from error
    if not isinstance(facts, dict):
        raise DataError(f"{path} holds no JSON object: save the pipeline anew.")
    return facts
