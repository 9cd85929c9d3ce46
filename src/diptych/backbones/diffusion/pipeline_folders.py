"""Reads pipelines of diffusers from local folders: the layouts of Stable Diffusion 1, 2, XL and 3.

Only safetensors are read, and no code of the folder runs: the classes of all parts are fixed here and in
``flow_folders``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diptych.backbones.causal import quiet
from diptych.backbones.diffusion.folder_parts import (
    LOADS,
    Layout,
    autoencoder,
    clip_texts,
    is_part,
    layout_of,
    named,
    network,
    scheduler_config,
)
from diptych.backbones.diffusion.pipeline_texts import PipelineTexts
from diptych.backbones.diffusion.pipelines import Pipeline, PipelineDiffusion
from diptych.core import DataError
from diptych.core.errors import need_extra


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> Pipeline:
    """Read a pipeline from a local folder, with the subfolders unet, vae (optional), text_encoder, tokenizer and
    scheduler; SDXL has text_encoder_2 and tokenizer_2 too. Those of Stable Diffusion 3 are in ``flow_folders``.

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
    need_extra("diffusion", "A pipeline of diffusers")
    layout, index = layout_of(folder)
    if layout.flow:
        from diptych.backbones.diffusion.flow_folders import load_flow

        pipeline: Pipeline = load_flow(folder, index, dtype)
    else:
        pipeline = _load_unet(folder, layout, index, dtype)
    for module in pipeline.modules():
        module.eval().requires_grad_(False)
    return pipeline


def _load_unet(folder: Path, layout: Layout, index: Mapping[str, Any], dtype: torch.dtype) -> PipelineDiffusion:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    two = layout.encoders > 1
    config = _scheduler(folder)
    with named(folder), quiet():
        betas = DDIMScheduler.from_config(dict(config)).betas
        unet = network(UNet2DConditionModel, folder / "unet", torch_dtype=dtype)
        vae = autoencoder(AutoencoderKL, folder / "vae", dtype) if is_part(folder, index, "vae") else None
        parts = [clip_texts(CLIPTextModel, folder, "", dtype, penultimate=two)]
        if two:
            parts.append(clip_texts(CLIPTextModelWithProjection, folder, "_2", dtype, penultimate=True))
    texts = PipelineTexts(tuple(parts), two and bool(index.get("force_zeros_for_empty_prompt", True)))
    pipeline = PipelineDiffusion(
        unet, vae, texts, betas, config.get("prediction_type", "epsilon"), config, str(folder.resolve())
    )
    _check_fits(folder, pipeline)
    return pipeline


def _scheduler(folder: Path) -> dict[str, Any]:
    """Return the configuration of the scheduler.

    Raises:
        DataError: it is none of a denoiser that predicts noise or v in steps.
    """
    config = scheduler_config(folder)
    if str(config.get("_class_name", "")).startswith(("EDM", "FlowMatch", "Karras")):
        raise DataError(f"{folder} has the scheduler {config['_class_name']}, and {LOADS}: give one of these.")
    if (predicts := config.get("prediction_type", "epsilon")) not in ("epsilon", "v_prediction"):
        raise DataError(f"{folder} predicts {predicts!r}: give one that predicts epsilon or v.")
    return config


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
