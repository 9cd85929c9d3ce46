"""Small random backbones that answer in microseconds: with no inner access, a text tower, both towers, or dense maps.

A system whose card names no hook is asked with a backbone that has none, so that a forgotten hook is noticed.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from diptych.core import Backbone, Inputs, PixelRecipe, Spec, Tower

Score = Literal["softmax", "sigmoid"]
SIDE, WIDTH, DIM = 8, 64, 16
"""Pixels a side, hidden width and dimensions of the embeddings of ``SmallBackbone``; all have these dimensions."""
VIT_SIDE, PATCH = 16, 4
"""Pixels a side of ``VisualBackbone``, and of its patches."""
CONTEXT, WORDS = 32, 200
"""Tokens a text, and token ids, of the text towers."""
START, END = WORDS - 2, WORDS - 1
HALVES = (0.5, 0.5, 0.5)
CLIP: Mapping[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
"""``model_cfg`` of the small CLIP of open_clip."""


def backbone_for(hooks: Sequence[str], score: Score = "softmax") -> Backbone:
    """Return the smallest of these backbones that has the hooks of a card.

    Example:
        >>> type(backbone_for(("image", "text"))).__name__, type(backbone_for(("image", "tower:text"))).__name__
        ('SmallBackbone', 'DeepBackbone')
    """
    if "dense" in hooks:
        return small_clip()
    if "tower:image" in hooks or "rebuild" in hooks:
        return VisualBackbone(score=score)
    return DeepBackbone(score=score) if "tower:text" in hooks else SmallBackbone(score=score)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Shake every parameter, so that zero biases, unit norms and tiny scales cannot hide a mistake.

    Args:
        module: changed in place, and set to evaluation.
        seed: of the shaking.
    """
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn(p.shape, generator=g) * (0.1 if p.dim() == 1 else 0.05))
        for name, b in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                b.copy_(torch.rand(b.shape, generator=g) * 0.3 + (0.5 if name.endswith("var") else 0.0))
    return module.eval()


def _pixels(items: Sequence[Any], side: int) -> Tensor:
    """Return (B, 3, side, side) pixels in [-1, 1]; tensors keep their size and their gradients."""
    pixels = []
    for item in items:
        if isinstance(item, Image.Image):
            array = np.array(item.convert("RGB").resize((side, side)), dtype=np.float32) / 255
            item = torch.from_numpy(array).permute(2, 0, 1)
        pixels.append((item - 0.5) / 0.5)
    return torch.stack(pixels)


@dataclass(frozen=True)
class ImageEncoder:
    """Random ReLU features of 8 x 8 pixels."""

    net: nn.Module
    fingerprint: str
    modality: str = "image"
    dim: int = DIM
    size: int | None = SIDE

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 3, h, w) pixels."""
        return _pixels(items, size or SIDE)

    def encode(self, x: Any, /) -> Tensor:
        """Return (B, D) embeddings."""
        out: Tensor = self.net(x.flatten(1))
        return out


@dataclass(frozen=True)
class TextEncoder:
    """The sum of the hashes of a text's words."""

    fingerprint: str
    modality: str = "text"
    dim: int = DIM
    size: int | None = None

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        """Return (B, D) sums of hashes."""
        return torch.stack([_word_sum(text) for text in items])

    def encode(self, x: Any, /) -> Tensor:
        """Return them as they are."""
        out: Tensor = x.clone()
        return out


def _word_sum(text: str) -> Tensor:
    rows = [np.frombuffer(hashlib.sha256(w.encode()).digest()[:DIM], dtype=np.uint8) for w in text.split()]
    return torch.from_numpy(np.sum(rows, axis=0).astype(np.float32) / 255 - 0.5 * len(rows))


class SmallBackbone(Backbone):
    """A backbone without inner access: random features of pixels, and hashes of words.

    Args:
        seed: of the random weights.
        score: how its scores become probabilities.
    """

    def __init__(self, seed: int = 0, score: Score = "softmax") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = nn.Sequential(nn.Linear(3 * SIDE * SIDE, WIDTH), nn.ReLU(), nn.Linear(WIDTH, DIM)).eval()
        self._score = score
        self._encoders: dict[str, Any] = {
            "image": ImageEncoder(self._net, f"small-image-{seed}"),
            "text": TextEncoder("small-text"),
        }

    @property
    def encoders(self) -> Mapping[str, Any]:
        """The encoders of images and texts."""
        return self._encoders

    @property
    def score(self) -> Score:
        """How scores become probabilities."""
        return self._score

    @property
    def spec(self) -> Spec:
        """What it is."""
        pixels = PixelRecipe(size=SIDE, mean=HALVES, std=HALVES, resize="squash")
        return Spec("small", "small", "mlp", "random:0", "relu", "words", 77, 0, "mean", DIM, pixels, self._score)

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return 20 and, for a sigmoid, a bias of -10."""
        return torch.tensor(20.0), torch.tensor(-10.0 if self._score == "sigmoid" else 0.0)

    def module(self) -> nn.Module:
        """Return the network of the image encoder."""
        return self._net


@dataclass(frozen=True)
class TowerText:
    """A causal CLIP text transformer over hashed words."""

    tower: Any
    fingerprint: str = "tower-text"
    modality: str = "text"
    dim: int = DIM
    size: int | None = None

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        """Return (B, T) token ids."""
        rows = [[START, *map(word_id, text.replace(".", " .").split()), END] for text in items]
        return torch.tensor([row + [0] * (max(map(len, rows)) - len(row)) for row in rows])

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings."""
        out: Tensor = self.tower.project(self.tower.pooled(self.tower.blocks(self.tower.start(x))))
        return out


def word_id(word: str) -> int:
    """Return the token id of a word."""
    return 1 + int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % (START - 1)


def _text_transformer(seed: int) -> nn.Module:
    from open_clip.transformer import TextTransformer

    module = TextTransformer(CONTEXT, WORDS, width=24, heads=2, layers=2, output_dim=DIM, eos_id=END, pad_id=0)
    return randomised(module, seed)


class DeepBackbone(SmallBackbone):
    """The small backbone with a text tower: a random causal CLIP text transformer over hashed words."""

    def __init__(self, seed: int = 0, score: Score = "softmax") -> None:
        from diptych.backbones.towers.residual import OpenClipTextTower

        super().__init__(seed, score)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            text: Any = _text_transformer(seed)
        self._module = nn.ModuleDict({"image": self._net, "text": text}).eval()
        self._encoders = {
            "image": ImageEncoder(self._net, f"small-image-{seed}"),
            "text": TowerText(OpenClipTextTower(text, "deep")),
        }

    @property
    def spec(self) -> Spec:
        """What it is."""
        pixels = super().spec.pixels
        return Spec("deep", "small", "mlp", "random:0", "gelu", "words", CONTEXT, 0, "argmax", DIM, pixels, self._score)

    def tower(self, modality: str) -> Tower:
        """Return the text tower."""
        if modality != "text":
            return super().tower(modality)
        tower: Tower = self._encoders["text"].tower
        return tower

    def module(self) -> nn.Module:
        """Return both networks."""
        return self._module


@dataclass(frozen=True)
class ViTImage(TowerText):
    """A random ViT on 16 x 16 pixels in patches of 4."""

    modality: str = "image"
    size: int | None = VIT_SIDE

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 3, h, w) pixels."""
        return _pixels(items, VIT_SIDE)


class VisualBackbone(SmallBackbone):
    """A small backbone with both towers, a random ViT and text transformer of open_clip, which can be rebuilt.

    Args:
        seed: of the random weights.
        score: how its scores become probabilities.
        module: weights to take over; None: random ones.
    """

    def __init__(self, seed: int = 0, score: Score = "softmax", module: nn.Module | None = None) -> None:
        from open_clip.transformer import VisionTransformer

        from diptych.backbones.towers.residual import OpenClipImageTower, OpenClipTextTower

        if module is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                image = randomised(VisionTransformer(VIT_SIDE, PATCH, 24, 2, 2, 2.0, output_dim=DIM), seed)
                text = _text_transformer(seed)
            module = nn.ModuleDict({"image": image, "text": text})
        self._module: Any = cast("Any", module.eval())
        self._score = score
        digest = hashlib.sha256(
            b"".join(t.detach().cpu().numpy().tobytes() for t in self._module.state_dict().values())
        ).hexdigest()[:8]
        self._encoders: dict[str, Any] = {
            "image": ViTImage(OpenClipImageTower(self._module["image"], "visual"), f"vit-{digest}"),
            "text": TowerText(OpenClipTextTower(self._module["text"], "visual")),
        }

    @property
    def spec(self) -> Spec:
        """What it is."""
        pixels = PixelRecipe(VIT_SIDE, HALVES, HALVES, resize="squash")
        return Spec(
            "visual", "small", "vit", "random:0", "gelu", "words", CONTEXT, 0, "argmax", DIM, pixels, self._score
        )

    def tower(self, modality: str) -> Tower:
        """Return the tower of images or of texts."""
        tower: Tower = self._encoders[modality].tower
        return tower

    def module(self) -> nn.Module:
        """Return both networks."""
        module: nn.Module = self._module
        return module

    def rebuild(self, module: nn.Module, spec: Spec) -> VisualBackbone:
        """Return the backbone with other weights."""
        return VisualBackbone(score=self._score, module=module)

    def twin(self) -> VisualBackbone:
        """Return a copy with weights of its own."""
        return VisualBackbone(score=self._score, module=copy.deepcopy(self._module))


def small_clip(seed: int = 0, *, whole: bool = False, **config: Any) -> Backbone:
    """Return a random ViT CLIP of open_clip with every hook: 32 x 32 pixels in patches of 16, CLIP's own words.

    Args:
        seed: of the random weights.
        whole: with its configuration, so that it can be written.
        config: entries of open_clip's ``model_cfg`` in place of those of ``CLIP``.
    """
    from diptych.backbones.sources.openclip_config import build
    from diptych.backbones.sources.openclip_sources import from_model

    pixels = PixelRecipe(32, HALVES, HALVES)
    dim = int(config.get("embed_dim", CLIP["embed_dim"]))
    spec = Spec("small-clip", "openclip", "small", "", "gelu", "clip-bpe", 77, 0, "argmax", dim, pixels)
    settings = {**CLIP, **config}
    return from_model(build(settings, seed=seed), spec, config=settings if whole else None)
