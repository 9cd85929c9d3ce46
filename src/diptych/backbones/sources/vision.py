"""Image-only spaces: timm's ViTs (the DINO families among them) and SAM's image encoder, as teachers and guides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.dense import dense_of
from diptych.backbones.hub import is_offline
from diptych.backbones.module_backbone import ModuleImage, StatedSpace, on_device
from diptych.backbones.pixels import image_batch
from diptych.backbones.sources.load import load
from diptych.backbones.sources.load_options import split_name
from diptych.backbones.spec import state_hash, triple
from diptych.backbones.towers.image import ImageTower
from diptych.backbones.towers.of import image_tower_of
from diptych.core import Dense, Inputs, MissingHook, NotAvailable, PixelRecipe, Space, Spec, Tower, UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class VisionEncoder(ModuleImage):
    """The image encoder of an image-only space: stem, blocks, pooling and head of its tower."""

    tower: ImageTower

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 3, S, S) normalised pixels; ``size`` may be any multiple of the patch."""
        return image_batch(items, self.spec.pixels, size, any_side=True)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 vectors of (B, 3, S, S) normalised pixels, not normalised."""
        s = self.tower.blocks(self.tower.start(on_device(x, self.model)))
        return self.tower.project(self.tower.pooled(s)).float()


class VisionSpace(StatedSpace):
    """A space of images alone, with tower and dense maps.

    Args:
        module: a timm ViT or Eva, or transformers' SamVisionEncoder; set to eval mode.

    Raises:
        MissingHook: the module cannot be cut in blocks.

    Example:
        >>> space = load_vision("timm:vit_tiny_patch16_224?weights=random")
        >>> sorted(space.encoders), space.tower("image").depth
        (['image'], 12)
    """

    def __init__(self, module: nn.Module, spec: Spec) -> None:
        self._module, self._spec = module.eval(), spec
        self._encoder = VisionEncoder(module, spec, spec.weights, image_tower_of(module, spec))
        self._encoders = {"image": self._encoder}

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Refuse: there is one modality.

        Raises:
            MissingHook: always.
        """
        raise MissingHook(f"{self._spec.name} encodes images alone, so no pair has a scale: use a CLIP backbone.")

    def module(self) -> nn.Module:
        """Return the library's own module."""
        return self._module

    def tower(self, modality: str) -> Tower:
        """Return the cut image tower.

        Raises:
            MissingHook: another modality.
        """
        return self._encoder.tower if modality == "image" else super().tower(modality)

    def dense(self) -> Dense:
        """Return the patch tokens as one map."""
        return dense_of(self._module, self._spec)

    def rebuild(self, module: nn.Module, spec: Spec) -> VisionSpace:
        """Return the same kind of space round other weights."""
        return VisionSpace(module, spec)


def load_vision(name: str, *, offline: bool | None = None) -> Space:
    """Load a space with an image encoder: any backbone, or one of images alone.

    Args:
        name: "timm:ARCH" or "timm:ARCH.TAG", such as "timm:vit_small_patch16_224.dino"; "sam:NAME", where NAME is a
            folder or hf:org/name of a SAM; else the name of a backbone, see ``load``. "timm:ARCH?weights=random&seed=0"
            draws the weights.
        offline: whether to avoid the network; None: as in HF_HUB_OFFLINE.

    Raises:
        UsageError: the name is unknown.
        NotAvailable: weights are not on this machine, and may not or cannot be fetched.
        MissingHook: the model is no ViT that can be cut.
    """
    prefix, _, rest = name.partition(":")
    if prefix == "sam" and rest:
        from diptych.backbones.mask_models.sam import SamMasks
        from diptych.backbones.sources.promptable import load_promptable

        masks = load_promptable(rest, offline=offline)
        assert isinstance(masks, SamMasks)
        return sam_space(masks)
    if prefix != "timm" or not rest:
        return load(name, offline=offline)
    architecture, options = split_name(rest)
    return timm_space(
        _timm(architecture, is_offline(offline), options.seed if options.weights == "random" else None), f"timm:{rest}"
    )


def timm_space(module: Any, name: str) -> VisionSpace:
    """Return the space of a timm ViT or Eva, with the pixel recipe that timm states for it."""
    from timm.data import resolve_model_data_config

    facts: Mapping[str, Any] = resolve_model_data_config(module)
    pixels = PixelRecipe(
        int(facts["input_size"][-1]),
        triple(facts["mean"]),
        triple(facts["std"]),
        "bilinear" if facts["interpolation"] == "bilinear" else "bicubic",
        crop=float(facts["crop_pct"]),
    )
    module.reset_classifier(0)
    return VisionSpace(module, _spec(name, type(module).__name__, module, int(module.num_features), pixels))


def sam_space(masks: Any) -> VisionSpace:
    """Return the image encoder of SAM (a ``SamMasks``) as a space; both share the weights.

    Raises:
        MissingHook: SAM 2, whose encoder pools between its blocks.
    """
    if masks.second:
        raise MissingHook("The encoder of SAM 2 pools between its blocks, so it has no tower: use a SAM.")
    encoder = masks.model.vision_encoder
    pixels = PixelRecipe(masks.side, IMAGENET_MEAN, IMAGENET_STD, "bilinear", "squash")
    return VisionSpace(
        encoder, _spec(f"sam:{masks.fingerprint}", "SamVisionEncoder", encoder, int(encoder.config.hidden_size), pixels)
    )


def _spec(name: str, architecture: str, module: nn.Module, dim: int, pixels: PixelRecipe) -> Spec:
    return Spec(name, "vision", architecture, state_hash(module), "gelu", "none", 0, 0, "none", dim, pixels)


def _timm(architecture: str, offline: bool, seed: int | None) -> Any:
    import timm

    if not timm.is_model(architecture):
        near = timm.list_models(f"{architecture.split('_')[0]}*tiny*")[:3]
        raise UsageError(f"timm knows no {architecture!r}: near are {', '.join(near) or 'none'}.")
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return timm.create_model(architecture, pretrained=False)
    if offline:
        raise NotAvailable(
            f"timm:{architecture} needs weights, and this run is offline: fetch them once online, or "
            f"take random ones: timm:{architecture}?weights=random."
        )
    try:
        return timm.create_model(architecture, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise NotAvailable(
            f"The weights of timm:{architecture} could not be fetched ({type(error).__name__}): check the network."
        ) from error
