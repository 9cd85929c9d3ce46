"""``lite``: EfficientNet-Lite0 and MiniLM from installed packages, joined by our heads. It needs no network.

    w = (1 - s) w_published + s w_ours      weights of Lite0; ours know few pixels, drawings and other looks better
    p = softmax(W f + b)       Lite0's own distribution over the 1,000 ImageNet classes of an image, f its pooled vector
    q = softmax(mlp(t))        the same distribution as a text would have it, t MiniLM's unit vector
    image = [ a unit(p),  b unit(f),      c unit(p G) ]
    y     = [ a unit(q),  b unit(q W'),   c unit(t - m) ]         a^2 = b^2 = 0.4, c^2 = 0.2
    text  = unit(y - (y v) v)

W': rows of the classifier less their mean
G: MiniLM vectors of the names and glosses of the classes, less their mean m
v: unit mean of the image vectors of photos: no text wins for lying near to all of them

"lite" has s = 0.75; "lite:views" has s = 1, another mlp and no v; "lite:2026-11", which was ``lite`` before 2026-12,
has s = 0, and else what "lite:views" has. "lite:512" is "lite" with the first 512 numbers of a rotation that puts the
directions that matter most first, unit(R^T image) and unit(R^T text).

The three panels compare classes, features of the classes, and glosses of the classes. The last is ConSE (Norouzi et
al. 2014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.lite_files import (
    CONTEXT,
    HEADS,
    NAMES,
    PAD,
    ROTATION,
    SHARES,
    SHORT,
    VIEWS,
    open_tokens,
    token_arrays,
)
from diptych.backbones.lite_parts import (
    IMAGE_SHA,
    SCALES,
    TEXT_SHA,
    ImageHead,
    LiteModule,
    TextHead,
    Unfilled,
    image_tower,
    mix_tower,
    text_tower,
)
from diptych.backbones.module_backbone import ModuleBackbone, ModuleImage, ModuleText, scale_and_bias
from diptych.backbones.pixels import image_batch
from diptych.backbones.spec import file_hash, fingerprint, state_hash
from diptych.core import Dense, Inputs, MissingHook, NotAvailable, PixelRecipe, Spec, Tower

PIXELS = PixelRecipe(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), interpolation="bilinear")


@dataclass(frozen=True, eq=False)
class LiteImage(ModuleImage):
    """The image encoder of ``lite``; arguments as ``ModuleImage``."""

    model: LiteModule

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 3, S, S) normalised pixels; any side S works, 224 is what Lite0 was trained on."""
        return image_batch(items, self.spec.pixels, size, any_side=True)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings of (B, 3, S, S) normalised pixels."""
        pixels = x if isinstance(x, Tensor) else x["pixels"]
        pooled = self.model.image(pixels.to(self.model.scale.device)).to(self.model.scale.dtype)  # type: ignore[arg-type]
        return self.model.image_head(pooled)


@dataclass(frozen=True, eq=False)
class LiteText(ModuleText):
    """The text encoder of ``lite``; arguments as ``ModuleText``, the tokenizer MiniLM's word pieces."""

    model: LiteModule
    tokens: Any

    @property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and truncation."""
        return fingerprint("text", self.spec, self.weights, identity="minilm", truncate=self.truncate)

    def inputs(self, items: Sequence[str], size: int | None = None) -> Mapping[str, Tensor]:
        """Return {"ids", "mask"}, both (B, L) int64, L the longest text's length.

        Raises:
            UsageError: a text has more than 256 tokens and the backbone was not loaded with ``truncate=True``.
        """
        arrays = token_arrays(self.tokens, items, truncate=self.truncate)
        return {name: torch.from_numpy(values) for name, values in arrays.items()}

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings of {"ids", "mask"}."""
        if isinstance(x, Tensor):
            x = {"ids": x, "mask": (x != self.spec.pad).long()}
        device: Any = self.model.scale.device
        ids, mask = x["ids"].to(device), x["mask"].to(device)
        if len(ids) == 0:
            return torch.empty(0, self.dim, device=device)
        h = self.model.text(input_ids=ids, attention_mask=mask).last_hidden_state.to(self.model.scale.dtype)
        return self.model.text_head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


class Lite(ModuleBackbone):
    """The embedded backbone.

    Args:
        module: its parameters, put in eval mode.
        weights: hash of all weights.
        truncate: cut texts that are too long instead of raising.
        texts: hash of what decides on the text vectors, where it is less than all weights: models with one text side
            share its stored vectors.
    """

    def __init__(
        self, module: LiteModule, spec: Spec, tokens: Any, weights: str, *, truncate: bool = False, texts: str = ""
    ) -> None:
        text = LiteText(module, spec, texts or weights, tokens, truncate)
        super().__init__(module, spec, {"image": LiteImage(module, spec, weights), "text": text})
        self._module = module

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (scale, 0), two scalars."""
        return scale_and_bias(self._module.scale, None)

    def module(self) -> LiteModule:
        """Return the module that holds all parameters."""
        return self._module

    def tower(self, modality: str) -> Tower:
        """Return MiniLM cut in blocks, its projection the text head.

        Raises:
            MissingHook: the image encoder is convolutional.
        """
        if modality != "text":
            raise MissingHook(
                "lite's image encoder is convolutional and has no tower: use its dense(), or tiny or an openclip ViT."
            )
        from diptych.backbones.towers.bert import BertTower

        return BertTower(self._module.text, "mean", self._module.text_head, None, "lite")

    def dense(self) -> Dense:
        """Return the maps of Lite0, their projection the image head."""
        from diptych.backbones.dense import ConvDense

        return ConvDense(self._module.image, self._module.image_head, "lite")

    def rebuild(self, module: nn.Module, spec: Spec) -> Lite:
        """Return ``lite`` with other weights of the same shape, and its own fingerprint.

        Raises:
            MissingHook: the module is no LiteModule.
        """
        if not isinstance(module, LiteModule):
            raise MissingHook(
                f"lite is rebuilt round a LiteModule, not a {type(module).__name__}: start from lite.module()."
            )
        digest = state_hash(module)
        text = self._encoders["text"]
        assert isinstance(text, LiteText)
        return Lite(module, replace(spec, weights=f"state:{digest}"), text.tokens, digest, truncate=text.truncate)


def load_lite(name: str = "lite", *, heads: Path | None = None, tower: Path = VIEWS, truncate: bool = False) -> Lite:
    """Load ``lite`` from its two packages, our heads and our image tower; hashes are checked first, and nothing is
    unpickled.

    Args:
        name: key of ``lite_files.SHARES``: "lite"; "lite:512", the same in 512 numbers for 2,664; "lite:2026-11",
            whose image weights are the packaged ones; or "lite:views", whose image weights are ours alone.
        heads: a safetensors file that ``recipes.lite_names`` or ``recipes.lite`` wrote; None: that of the name.
        tower: a safetensors file that ``recipes.lite_tower`` wrote; the one that ships is checked by its hash.
        truncate: cut texts that are too long instead of raising.

    Raises:
        NotAvailable: a package, the heads or the tower are missing.
        DataError: a weight file is not the one that the heads were trained on, or the tower is of another version.
    """
    from safetensors.torch import load_file

    image, classifier = image_tower()
    text, folder = text_tower()
    heads = heads or (NAMES if name in ("lite", SHORT) else HEADS)
    if not heads.is_file():
        raise NotAvailable(
            f"The heads of lite are not at {heads}: install diptych again, or train them with python -m "
            f"recipes.lite train."
        )
    state = {name: tensor.float() for name, tensor in load_file(heads).items()}
    looks = (classifier.weight - classifier.weight.mean(0)).detach()
    rotation = load_file(ROTATION)["rotation"].float() if name == SHORT else None
    with Unfilled():
        text_head = TextHead(looks, state["middle"], state["mlp.0.weight"].shape[0], state.get("mean"), rotation)
    text_head.mlp.load_state_dict(
        {name.removeprefix("mlp."): t for name, t in state.items() if name.startswith("mlp.")}
    )
    digest = file_hash(heads)
    stated, share, texts = digest, SHARES[name], f"{IMAGE_SHA}/{TEXT_SHA}/{digest}"
    seen = texts
    if share:
        stated = mix_tower(image, tower, share)
        seen = f"{texts}/{stated}"
        stated = stated if share == 1 else f"{stated}/{digest}"  # alone, our tower has the heads of lite:2026-11
    dim = sum((1000, 1280, 384))
    if rotation is not None:
        dim, turn = rotation.shape[1], file_hash(ROTATION)
        stated, seen, texts = (f"{weights}/{turn}" for weights in (stated, seen, texts))
    module = LiteModule(image, text, ImageHead(classifier, state["glosses"], rotation), text_head, SCALES[name])
    spec = Spec(
        name, "lite", "efficientnet-lite0 + all-MiniLM-L6-v2", stated, "relu6+gelu", "bert-wordpiece", CONTEXT, PAD,
        "mean", dim, PIXELS, licence="Apache-2.0", languages=("en",),
    )  # fmt: skip
    return Lite(module, spec, open_tokens(folder), seen, truncate=truncate, texts=texts)
