"""Opens denoisers by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path

from diptych.backbones.diffusion.patch_denoiser import DenoiserLayout, PatchDenoiser
from diptych.backbones.diffusion.small import SmallDiffusion
from diptych.core import Backbone, DataError, MissingHook, NotAvailable, TextDiffusion, UsageError
from diptych.data.scenes.captions import long_caption, short_caption
from diptych.data.scenes.compose import SceneRecipe
from diptych.data.scenes.paint import SceneObject
from diptych.data.scenes.sprites import SpriteBank

SMALL = Path(__file__).parents[2] / "assets" / "denoiser" / "small.safetensors"
SMALL_BANK = SpriteBank(
    shapes=("circle", "square", "triangle", "star", "heart", "cross"),
    colours=("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    textures=("plain", "plain", "plain", "striped"),
)
"""What the small denoiser can draw."""
SMALL_SCENES = SceneRecipe(SMALL_BANK, size=32, sides=(0.45, 0.7), backgrounds=("light", "dark", "gradient"))
"""Scenes of one object; it was taught those of the middle, see ``recipes.small_denoiser``."""


def taught_texts(captions: Mapping[str, str], background: str) -> tuple[str, str, str]:
    """Return the texts by which a scene was called when the small denoiser was taught, see ``recipes.small_denoiser``.

    Args:
        captions: of the scene, "short" and "long".
        background: its kind.
    """
    return captions["short"], f"{captions['short']} on a {background} background", captions["long"]


@cache
def taught_words() -> frozenset[str]:
    """Return every word of every text that the small denoiser was taught, in lower case."""
    words: set[str] = set()
    for (colour, shape), texture in product(SMALL_BANK.combinations(), SMALL_BANK.textures):
        for background, side in product(SMALL_SCENES.backgrounds, SMALL_SCENES.sides):
            things = (SceneObject(shape, colour, texture, centre=(0.5, 0.5), side=side),)
            captions = {"short": short_caption(things, None), "long": long_caption(things, None, background)}
            words.update(word for text in taught_texts(captions, background) for word in words_of(text))
    return frozenset(words)


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return re.findall(r"\w+", text.casefold())


def load_diffusion(
    name: str, backbone: Backbone, *, precision: str = "fp32", lora: Path | None = None
) -> TextDiffusion:
    """Return a denoiser by its name.

    Args:
        name: "small", or "local:FOLDER" with a pipeline of diffusers in the layout of Stable Diffusion 1, 2, XL or 3,
            of safetensors alone.
        backbone: reads the texts of ``small``, which was trained with ``tiny``; a pipeline has a reader of its own. Its
            device is that of the denoiser.
        precision: of the networks of a pipeline, whatever that of its files: "bf16", or any other for float32.
        lora: folder with low-rank changes of a pipeline, see ``lora.add_lora``; None: none.

    Raises:
        UsageError: the name is none, or the small denoiser should be changed.
        NotAvailable, DataError, MissingHook, MissingExtra: see ``load_small``, ``pipeline_folders.load_pipeline`` and
            ``lora.add_lora``.
    """
    if name == "small":
        if lora is not None:
            raise UsageError("The small denoiser has no LoRA: give a pipeline as {denoiser}, or leave {lora} out.")
        return load_small(backbone)
    if (folder := folder_of(name)) is not None:
        import torch

        from diptych.backbones.diffusion.pipeline_folders import load_pipeline

        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        pipeline = load_pipeline(folder, dtype)
        if lora is not None:
            from diptych.backbones.diffusion.lora import add_lora

            add_lora(pipeline, lora)
        return pipeline.to(next(backbone.module().parameters(), torch.empty(0)).device)
    raise UsageError(f"{name!r} names no denoiser: use small, or local:FOLDER with a diffusers pipeline.")


def folder_of(name: str) -> Path | None:
    """Return the folder of a pipeline that a denoiser's name names; None: it names none.

    Example:
        >>> str(folder_of("local:models/sd")), folder_of("small")
        ('models/sd', None)
    """
    return Path(name[6:]).expanduser() if name.startswith("local:") and len(name) > 6 else None


def check_attention(name: str, system: str) -> None:
    """Refuse a pipeline of flow matching for a system that needs predicted noise and cross-attention.

    Its weights are not read.

    Args:
        name: of the denoiser.
        system: name of the system.

    Raises:
        MissingHook: it is one.
        UsageError, DataError: see ``folder_parts.layout_of``.
    """
    from diptych.backbones.diffusion.folder_parts import layout_of

    folder = folder_of(name)
    if folder is not None and (layout := layout_of(folder)[0]).flow:
        raise MissingHook(
            f"{folder} holds a {layout.name}, which predicts the velocity of a flow and has no cross-attention, and "
            f"{system} inverts pictures by predicted noise and exchanges cross-attention: give a pipeline in the "
            f"layout of Stable Diffusion 1, 2 or XL as {{denoiser}}, or small."
        )


def check_one_encoder(name: str, system: str) -> None:
    """Refuse a pipeline with several text encoders for a system that trains one; see ``check_attention``.

    Raises:
        MissingHook: it has several.
        UsageError, DataError: see ``folder_parts.layout_of``.
    """
    from diptych.backbones.diffusion.folder_parts import layout_of

    folder = folder_of(name)
    if folder is not None and (layout := layout_of(folder)[0]).encoders > 1:
        raise MissingHook(
            f"{folder} holds a {layout.name}, which reads several text encoders, and {system} trains one: give a "
            f"pipeline in the layout of Stable Diffusion 1 or 2 as {{denoiser}}, or small."
        )


def load_small(backbone: Backbone, path: Path = SMALL) -> SmallDiffusion:
    """Return the denoiser that ships, trained on the text tokens of ``tiny``, or another of ``recipes.small_denoiser``.

    Raises:
        NotAvailable: there is no such file.
        DataError: it is damaged, or of another network.
        MissingHook: the backbone has no text tower, or one of another width.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise NotAvailable(f"There is no denoiser {path}: train one with python -m recipes.small_denoiser.")
    try:
        with safe_open(path, "pt") as file:
            layout = DenoiserLayout.of(file.metadata() or {})
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        PatchDenoiser(layout).load_state_dict(weights)
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} holds no denoiser that fits its own layout: write it with recipes.small_denoiser."
        ) from error
    return SmallDiffusion(layout, weights, backbone)
