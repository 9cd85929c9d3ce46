"""Reads pipelines of diffusers from local folders: the layouts of Stable Diffusion 1, 2 and XL.

Only safetensors are read, and no code of the folder runs: the classes of all parts are fixed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from diptych.backbones.causal import quiet
from diptych.backbones.diffusion.pipeline_texts import PipelineTexts, TextPart
from diptych.backbones.diffusion.pipelines import PipelineDiffusion
from diptych.core import DataError, MissingExtra, UsageError
from diptych.core.wording import one_line

LAYOUTS: Mapping[str, bool] = {"StableDiffusionPipeline": False, "StableDiffusionXLPipeline": True}
"""Pipelines by the name in model_index.json -> whether they have two text encoders."""
LOADS = "pipelines of Stable Diffusion 1 and 2 and of SDXL that begin with words alone load"
"""What the sentence of a refusal says."""
LARGEST = 16 * 2**20
"""Bytes of a JSON file that is read."""
_WEIGHTS = re.compile(r"(diffusion_pytorch_model|model)(?:\.([\w-]+?))?(?:-\d{5}-of-\d{5})?\.safetensors", re.ASCII)


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> PipelineDiffusion:
    """Read a pipeline from a local folder, with the subfolders unet, vae (optional), text_encoder, tokenizer and
    scheduler; SDXL has text_encoder_2 and tokenizer_2 too.

    Where a part has plain files and variants, such as ``model.fp16.safetensors``, the plain ones are read; else its
    only variant, or fp16.

    Args:
        folder: as ``save_pretrained`` writes it.
        dtype: of all networks, whatever that of the files; an autoencoder that overflows in float16, as SDXL's does,
            is then of float32.

    Raises:
        MissingExtra: diffusers is not installed.
        UsageError: there is no such folder.
        DataError: a part is missing, of another layout, or not in safetensors.
    """
    try:
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    except ImportError:
        raise MissingExtra("diffusers", "diffusion", "A pipeline of diffusers") from None
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: give one that holds a pipeline of diffusers.")
    index = _json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    two = _has_two_encoders(folder, index)
    config = _scheduler(folder)
    with _named(folder), quiet():
        betas = DDIMScheduler.from_config(dict(config)).betas
        unet = _network(UNet2DConditionModel, folder / "unet", torch_dtype=dtype)
        vae = _autoencoder(AutoencoderKL, folder / "vae", dtype) if _is_part(folder, index, "vae") else None
        parts = [_texts(CLIPTextModel, folder, "", dtype, penultimate=two)]
        if two:
            parts.append(_texts(CLIPTextModelWithProjection, folder, "_2", dtype, penultimate=True))
    texts = PipelineTexts(tuple(parts), two and bool(index.get("force_zeros_for_empty_prompt", True)))
    pipeline = PipelineDiffusion(
        unet, vae, texts, betas, config.get("prediction_type", "epsilon"), config, str(folder.resolve())
    )
    _check_fits(folder, pipeline)
    for module in pipeline.modules():
        module.eval().requires_grad_(False)
    return pipeline


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
        shards = _json(path).get("weight_map", {})
        if not all(_WEIGHTS.fullmatch(str(name)) for name in shards.values()):
            raise DataError(f"{path} names files that are no safetensors beside it: save the pipeline anew.")
    if None in variants:
        return None
    if len(variants) > 1 and "fp16" not in variants:
        names = ", ".join(sorted(map(str, variants)))
        raise DataError(f"{part} holds several variants, {names}: leave the files of one there.")
    return "fp16" if "fp16" in variants else str(variants.pop())


def _has_two_encoders(folder: Path, index: Mapping[str, Any]) -> bool:
    """Return whether a folder has the layout of SDXL, as it says or as its subfolders show.

    Raises:
        DataError: it says another one.
    """
    name = index.get("_class_name")
    if name is None:
        name = "StableDiffusionXLPipeline" if (folder / "text_encoder_2").is_dir() else "StableDiffusionPipeline"
    if name not in LAYOUTS:
        raise DataError(f"{folder} holds a {str(name)[:60]}, and {LOADS}: give one of these.")
    if missing := [part for part in ("unet", "text_encoder", "scheduler") if not _is_part(folder, index, part)]:
        raise DataError(
            f"{folder} has no {missing[0]}, so it holds no pipeline in the layout of Stable Diffusion, and {LOADS}: "
            f"give one of these."
        )
    return LAYOUTS[name]


def _is_part(folder: Path, index: Mapping[str, Any], name: str) -> bool:
    """Return whether a part is there and not left out by model_index.json, which writes [null, null] for that."""
    return (folder / name).is_dir() and index.get(name, [name]) != [None, None]


def _scheduler(folder: Path) -> dict[str, Any]:
    """Return the configuration of the scheduler.

    Raises:
        DataError: it is none of a denoiser that predicts noise or v in steps.
    """
    config = _json(folder / "scheduler" / "scheduler_config.json")
    if str(config.get("_class_name", "")).startswith(("EDM", "FlowMatch", "Karras")):
        raise DataError(f"{folder} has the scheduler {config['_class_name']}, and {LOADS}: give one of these.")
    if (predicts := config.get("prediction_type", "epsilon")) not in ("epsilon", "v_prediction"):
        raise DataError(f"{folder} predicts {predicts!r}: give one that predicts epsilon or v.")
    return config


def _texts(kind: Any, folder: Path, suffix: str, dtype: torch.dtype, *, penultimate: bool) -> TextPart:
    from transformers import CLIPTokenizer

    encoder = _network(kind, folder / f"text_encoder{suffix}", dtype=dtype)
    tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}", local_files_only=True)
    return TextPart(encoder, tokenizer, penultimate)


def _autoencoder(kind: Any, part: Path, dtype: torch.dtype) -> Any:
    config = _json(part / "config.json")
    overflows = dtype == torch.float16 and bool(config.get("force_upcast", True))
    return _network(kind, part, torch_dtype=torch.float32 if overflows else dtype)


def _network(kind: Any, part: Path, **precision: torch.dtype) -> Any:
    """Return a network of a fixed class with all its weights.

    Raises:
        DataError: weights are missing.
    """
    network, info = kind.from_pretrained(
        part,
        variant=variant_of(part),
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        **precision,
    )
    if missing := sorted(info["missing_keys"]):
        raise DataError(f"{part} lacks {len(missing)} weights, among them {missing[0]}: save the pipeline anew.")
    return network


@contextmanager
def _named(folder: Path) -> Iterator[None]:
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


def _check_fits(folder: Path, pipeline: PipelineDiffusion) -> None:
    """Refuse parts that do not belong together, and networks that read more than noise, steps and texts.

    Raises:
        DataError: they do not fit.
    """
    unet = pipeline.unet.config
    latents = unet.out_channels if pipeline.autoencoder is None else pipeline.autoencoder.config.latent_channels
    if unet.in_channels != latents:
        raise DataError(
            f"The U-Net of {folder} reads {unet.in_channels} channels, of which {latents} are the latent's, so it "
            f"begins with pictures, and {LOADS}: give one of these."
        )
    if not isinstance(unet.sample_size, int):
        raise DataError(f"The U-Net of {folder} has the size {unet.sample_size}: give one of square pictures.")
    wanted = "text_time" if len(pipeline.texts.parts) > 1 else None
    more = [
        name
        for name in ("class_embed_type", "time_cond_proj_dim", "encoder_hid_dim_type")
        if getattr(unet, name, None) is not None
    ]
    if more or unet.addition_embed_type != wanted:
        raise DataError(
            f"The U-Net of {folder} has {more[0] if more else 'addition_embed_type'} "
            f"{getattr(unet, more[0] if more else 'addition_embed_type')!r}, and {LOADS}: give one of these."
        )
    if unet.cross_attention_dim != pipeline.texts.width:
        raise DataError(
            f"The U-Net of {folder} reads tokens of width {unet.cross_attention_dim}, and its text encoders give "
            f"{pipeline.texts.width}: give a folder whose parts belong together."
        )
    if wanted is not None:
        pooled = int(pipeline.texts.parts[-1].encoder.config.projection_dim)
        if unet.projection_class_embeddings_input_dim != pooled + 6 * unet.addition_time_embed_dim:
            raise DataError(
                f"The U-Net of {folder} does not read the pooled vectors of its text encoders, which have {pooled} "
                f"numbers: give a folder whose parts belong together."
            )


def _json(path: Path) -> dict[str, Any]:
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
