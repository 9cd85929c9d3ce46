"""transformers models as a Backbone: CLIP, MetaCLIP 2, SigLIP, Chinese-CLIP, ALIGN, AltCLIP, by their own files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from diptych.backbones.module_backbone import ModuleBackbone, ModuleImage, ModuleText, on_device, scale_and_bias
from diptych.backbones.pixels import image_batch
from diptych.backbones.spec import state_hash
from diptych.backbones.tokens import Tokens, padded
from diptych.core import Inputs, Spec


@dataclass(frozen=True)
class Family:
    """Facts of a model type that are in transformers' code and in no configuration file.

    Args:
        masked: the text tower needs a mask over padding.
        trim: padding can be cut to the longest text (causal towers, and masked ones).
        score: how scaled cosines become probabilities.
        pooling: text pooling; "" where the end token's id decides.
    """

    tokenizer: str
    masked: bool = False
    trim: bool = True
    score: Literal["softmax", "sigmoid"] = "softmax"
    pooling: str = ""


FAMILIES = {
    "clip": Family("clip-bpe"),
    "metaclip_2": Family("xlm-v-sentencepiece", pooling="eos"),
    "siglip": Family("siglip-sentencepiece", trim=False, score="sigmoid", pooling="last"),
    "chinese_clip": Family("bert-wordpiece", masked=True, pooling="cls"),
    "align": Family("bert-wordpiece", masked=True, pooling="cls"),
    "altclip": Family("xlm-r-sentencepiece", masked=True, pooling="cls"),
}


class HubImage(ModuleImage):
    """The image encoder of a module with ``get_image_features``."""

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 3, S, S) normalised pixels, by our own recipe.

        It crops as CLIP's training did (torchvision). transformers' processors crop one pixel beside it where an odd
        number of pixels is cut away, and the default ones resize tensors, a grey level off.

        Raises:
            UsageError: ``size`` differs from the tower's side, or a tensor has another shape.
        """
        return image_batch(items, self.spec.pixels, size)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings of (B, 3, S, S) normalised pixels."""
        return _vectors(self.model.get_image_features(pixel_values=on_device(x, self.model)))  # type: ignore[operator]


class HubText(ModuleText):
    """The text encoder of a module with ``get_text_features``."""

    @property
    def family(self) -> Family:
        """Padding and masking rules."""
        return FAMILIES[self.spec.architecture]

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        """Return (B, L) int64 token ids, padded to the context length where the tower sees padding (SigLIP).

        Raises:
            UsageError: a text is longer than the context and the backbone was not loaded with ``truncate=True``.
        """
        return padded(self.tokens, items, self.spec.context, trim=self.family.trim, truncate=self.truncate)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings of (B, L) token ids."""
        ids = on_device(x, self.model)
        mask = (ids != self.spec.pad).long() if self.family.masked else None
        return _vectors(self.model.get_text_features(input_ids=ids, attention_mask=mask))  # type: ignore[operator]


class HuggingFace(ModuleBackbone):
    """A transformers model, its tokenizer and its pixel recipe.

    The module is put in eval mode and float32; its weights must not change afterwards (use ``rebuild`` after training).

    Args:
        model: with ``get_image_features`` and ``get_text_features``.
        truncate: cut texts that are too long instead of raising.
        weights: hash of the weights; None: computed from the tensors.
    """

    def __init__(
        self, model: nn.Module, spec: Spec, tokens: Tokens, *, truncate: bool = False, weights: str | None = None
    ) -> None:
        weights = weights or state_hash(model.float())
        text = HubText(model, spec, weights, tokens, truncate)
        super().__init__(model, spec, {"image": HubImage(model, spec, weights), "text": text})
        self.tokens, self._truncate = tokens, truncate

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (scale, bias or 0), two scalars; ALIGN stores a temperature instead of a log scale."""
        model: Any = self._model
        scale = model.logit_scale.exp() if hasattr(model, "logit_scale") else 1.0 / model.temperature
        return scale_and_bias(scale, getattr(model, "logit_bias", None))

    def rebuild(self, module: nn.Module, spec: Spec) -> HuggingFace:
        """Return a backbone with another module of the same architecture, and its own fingerprint."""
        digest = state_hash(module)
        return HuggingFace(
            module, replace(spec, weights=f"state:{digest}"), self.tokens, truncate=self._truncate, weights=digest
        )


def _vectors(output: Any) -> Tensor:
    """Take the projected vectors: a tensor in transformers 4, ``pooler_output`` in 5."""
    vectors: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return vectors.float()
