"""Low-rank changes of a pipeline (LoRA), added to its weights by the loaders of diffusers and peft."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diptych.backbones.diffusion.flow_pipelines import FlowDiffusion
from diptych.backbones.diffusion.pipelines import Pipeline, PipelineDiffusion
from diptych.core import DataError, NotAvailable, UsageError
from diptych.core.errors import need_extra
from diptych.core.wording import one_line

USUAL = "pytorch_lora_weights.safetensors"
"""Name under which diffusers writes them."""
_DOWN = ("lora_A.weight", "lora.down.weight", "lora_down.weight", "lora_linear_layer.down.weight")
"""How the names of the first of two factors end."""


def add_lora(pipeline: Pipeline, path: Path) -> None:
    """Add the low-rank changes of a folder to the weights of a pipeline, which are modified in place.

    Args:
        pipeline: of the layout that they were trained on.
        path: folder with ``pytorch_lora_weights.safetensors`` or one other .safetensors file, or such a file.

    Raises:
        MissingExtra: diffusers or peft is not installed.
        UsageError: there is no such folder or file.
        NotAvailable: it changes text encoders too, and transformers wants a later peft for that.
        DataError: it holds no such changes in safetensors, or none of this pipeline.
    """
    file = lora_file(path)
    need_extra("lora", "A LoRA folder")
    from peft.tuners.tuners_utils import BaseTunerLayer
    from safetensors import SafetensorError, safe_open

    theirs = _diffusers_pipeline(pipeline)
    try:
        with safe_open(file, "pt") as opened:
            wanted = sum(name.endswith(_DOWN) for name in opened.keys())  # noqa: SIM118
        with _quiet():
            theirs.load_lora_weights(
                str(file.parent), weight_name=file.name, use_safetensors=True, local_files_only=True
            )
        layers = [m for network in pipeline.modules() for m in network.modules() if isinstance(m, BaseTunerLayer)]
        if layers:
            theirs.fuse_lora(safe_fusing=True)
            theirs.unload_lora_weights()
    except ValueError as error:
        if "version of PEFT" in str(error):
            raise NotAvailable(
                f"{file} changes text encoders too, which the installed transformers does with a later peft alone: "
                f"install one, or give a LoRA of the U-Net alone."
            ) from error
        raise _foreign(file, pipeline, error) from error
    except (OSError, TypeError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
        raise _foreign(file, pipeline, error) from error
    if not layers:
        raise DataError(f"{file} changes no weight of {pipeline.folder}: give a LoRA that was trained on its layout.")
    if len(layers) < wanted:
        warnings.warn(
            f"{file} changes {wanted} layers, of which {pipeline.folder} has {len(layers)}: the others have no effect.",
            stacklevel=2,
        )
    for network in pipeline.modules():
        network.eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide diffusers' notes on parts that a file leaves as they are."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _foreign(file: Path, pipeline: Pipeline, error: Exception) -> DataError:
    words = one_line(str(error))[:120]
    return DataError(f"{file} holds no LoRA of {pipeline.folder} ({words}): give one that was trained on its layout.")


def lora_file(path: Path) -> Path:
    """Return the file of a folder's changes, or the file itself.

    Raises:
        UsageError: there is no such path.
        DataError: it is no .safetensors file, or the folder holds none or several.
    """
    if not path.exists():
        raise UsageError(f"There is no folder {path}: give one that holds a LoRA in safetensors.")
    if path.is_file():
        files = [path] if path.suffix == ".safetensors" else []
    else:
        files = [path / USUAL] if (path / USUAL).is_file() else sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise DataError(f"{path} holds {len(files) or 'no'} .safetensors files: give a folder with one, or the file.")
    return files[0]


def _diffusers_pipeline(pipeline: Pipeline) -> Any:
    """Return a pipeline of diffusers round the same networks, for its loaders."""
    import diffusers

    if isinstance(pipeline, FlowDiffusion):
        (clip_l, clip_g), third = pipeline.texts.clip.parts, pipeline.texts.t5
        return diffusers.StableDiffusion3Pipeline(
            vae=pipeline.autoencoder, transformer=pipeline.transformer, text_encoder=clip_l.encoder,
            tokenizer=clip_l.tokenizer, text_encoder_2=clip_g.encoder, tokenizer_2=clip_g.tokenizer,
            text_encoder_3=None if third is None else third.encoder,
            tokenizer_3=None if third is None else third.tokenizer,
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        )  # fmt: skip
    assert isinstance(pipeline, PipelineDiffusion)
    first, *second = pipeline.texts.parts
    parts: dict[str, Any] = {
        "vae": pipeline.autoencoder, "unet": pipeline.unet, "text_encoder": first.encoder,
        "tokenizer": first.tokenizer, "scheduler": diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
    }  # fmt: skip
    if second:
        parts |= {"text_encoder_2": second[0].encoder, "tokenizer_2": second[0].tokenizer}
        return diffusers.StableDiffusionXLPipeline(**parts)
    return diffusers.StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
