"""Reads pipelines of flow matching from local folders: the layout of Stable Diffusion 3.

Only safetensors are read, and no code of the folder runs: the classes of all parts are fixed here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diptych.backbones.causal import quiet
from diptych.backbones.diffusion.flow_pipelines import FlowDiffusion
from diptych.backbones.diffusion.flow_texts import FlowTexts, T5Part
from diptych.backbones.diffusion.folder_parts import (
    LOADS,
    autoencoder,
    clip_texts,
    is_part,
    named,
    network,
    scheduler_config,
)
from diptych.backbones.diffusion.pipeline_texts import PipelineTexts
from diptych.core import DataError


def load_flow(folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> FlowDiffusion:
    """Read a pipeline with the subfolders transformer, vae, text_encoder, text_encoder_2, their tokenizers, scheduler,
    and text_encoder_3 and tokenizer_3 (optional).

    Args:
        folder: as ``save_pretrained`` writes it.
        index: its model_index.json.
        dtype: of all networks, see ``pipeline_folders.load_pipeline``.

    Raises:
        DataError: parts are damaged, or do not belong together.
    """
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
    from transformers import CLIPTextModelWithProjection

    config = scheduler_config(folder)
    if not (name := str(config.get("_class_name", ""))).startswith("FlowMatch"):
        raise DataError(f"{folder} has the scheduler {name[:60]!r}, which is not of flow matching: give one that is.")
    with named(folder), quiet():
        sigmas = FlowMatchEulerDiscreteScheduler.from_config(dict(config)).sigmas.flip(0)
        transformer = network(SD3Transformer2DModel, folder / "transformer", torch_dtype=dtype)
        vae = autoencoder(AutoencoderKL, folder / "vae", dtype)
        clip = PipelineTexts(
            tuple(clip_texts(CLIPTextModelWithProjection, folder, s, dtype, penultimate=True) for s in ("", "_2"))
        )
        t5 = _t5(folder, dtype) if is_part(folder, index, "text_encoder_3") else None
    if t5 is None and index.get("text_encoder_3", [None, None]) != [None, None]:
        warnings.warn(
            f"{folder} lacks text_encoder_3, which its model_index.json names: texts are read without T5.", stacklevel=2
        )
    texts = FlowTexts(clip, t5, int(transformer.config.joint_attention_dim))
    pipeline = FlowDiffusion(transformer, vae, texts, sigmas, config, str(folder.resolve()))
    _check_fits(folder, pipeline)
    return pipeline


def _t5(folder: Path, dtype: torch.dtype) -> T5Part:
    from transformers import T5EncoderModel, T5TokenizerFast

    encoder = network(T5EncoderModel, folder / "text_encoder_3", dtype=dtype)
    return T5Part(encoder, T5TokenizerFast.from_pretrained(folder / "tokenizer_3", local_files_only=True))


def _check_fits(folder: Path, pipeline: FlowDiffusion) -> None:
    """Refuse parts that do not belong together, and transformers that read more than latents, steps and texts.

    Raises:
        DataError: they do not fit.
    """
    config, texts = pipeline.transformer.config, pipeline.texts
    latents = int(pipeline.autoencoder.config.latent_channels)
    if config.in_channels != latents or config.out_channels not in (None, latents):
        raise DataError(
            f"The transformer of {folder} reads {config.in_channels} channels, of which {latents} are the latent's, so "
            f"it begins with pictures, and {LOADS}: give one of these."
        )
    wide = None if texts.t5 is None else int(texts.t5.encoder.config.d_model)
    if texts.clip.width > texts.width or wide not in (None, texts.width):
        raise DataError(
            f"The transformer of {folder} reads tokens of width {texts.width}, and its text encoders give "
            f"{texts.clip.width}{'' if wide is None else f' and {wide}'}: give a folder whose parts belong together."
        )
    pooled = sum(int(part.encoder.config.projection_dim) for part in texts.clip.parts)
    if config.pooled_projection_dim != pooled:
        raise DataError(
            f"The transformer of {folder} does not read the pooled vectors of its text encoders, which have {pooled} "
            f"numbers: give a folder whose parts belong together."
        )
