"""transformers models as a Backbone: CLIP, MetaCLIP 2, SigLIP, Chinese-CLIP and ALIGN from a folder, every fact read from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diptych.backbones.pixels import image_batch
from diptych.backbones.spec import fingerprint, state_hash
from diptych.backbones.tokens import Tokens, padded
from diptych.core.backbone import Backbone, Dense, Encoder, Inputs, Spec, Tower


@dataclass(frozen=True)
class Family:
    """What no configuration file says, because transformers' code says it.

    Args:
        tokenizer: kind of tokenizer.
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
}


@dataclass(frozen=True, eq=False)
class HubImage:
    """The image encoder of a transformers model.

    Args:
        model: with ``get_image_features``.
        spec: what it is.
        weights: hash of the weights.
    """

    model: nn.Module
    spec: Spec
    weights: str
    modality = "image"

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.spec.dim

    @property
    def size(self) -> int:
        """Side of the square input in pixels."""
        return self.spec.pixels.size

    @property
    def fingerprint(self) -> str:
        """Hash of weights, architecture and pixel recipe."""
        return fingerprint("image", self.spec, self.weights)

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 3, S, S) normalised pixels, by our own recipe.

        It crops as CLIP's training did (torchvision). transformers' processors crop one pixel beside it where an odd number of
        pixels is cut away, and the default ones resize tensors, a grey level off.

        Raises:
            UsageError: ``size`` differs from the tower's side, or a tensor has another shape.
        """
        return image_batch(items, self.spec.pixels, size)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings of (B, 3, S, S) normalised pixels."""
        return _vectors(self.model.get_image_features(pixel_values=_moved(x, self.model)))  # type: ignore[operator]


@dataclass(frozen=True, eq=False)
class HubText:
    """The text encoder of a transformers model.

    Args:
        model: with ``get_text_features``.
        spec: what it is.
        weights: hash of the weights.
        tokens: the checkpoint's tokenizer.
        family: padding and masking rules.
        truncate: cut texts that are too long instead of raising.
    """

    model: nn.Module
    spec: Spec
    weights: str
    tokens: Tokens
    family: Family
    truncate: bool = False
    modality = "text"
    size = None

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.spec.dim

    @property
    def fingerprint(self) -> str:
        """Hash of weights, architecture, tokenizer and truncation (a cut text must not answer for a refused one)."""
        return fingerprint("text", self.spec, self.weights, identity=self.tokens.identity, truncate=self.truncate)

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        """Return (B, L) int64 token ids, padded to the context length where the tower sees padding (SigLIP).

        Raises:
            UsageError: a text is longer than the context and the backbone was not loaded with ``truncate=True``.
        """
        return padded(self.tokens, items, self.spec.context, trim=self.family.trim, truncate=self.truncate)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings of (B, L) token ids."""
        ids = _moved(x, self.model)
        mask = (ids != self.spec.pad).long() if self.family.masked else None
        return _vectors(self.model.get_text_features(input_ids=ids, attention_mask=mask))  # type: ignore[operator]


class HuggingFace(Backbone):
    """A transformers model, its tokenizer and its pixel recipe.

    The module is put in eval mode and float32; its weights must not change afterwards (use ``rebuild`` after training).

    Args:
        model: with ``get_image_features`` and ``get_text_features``.
        spec: what it is.
        tokens: its tokenizer.
        truncate: cut texts that are too long instead of raising.
        weights: hash of the weights; None: computed from the tensors.
    """

    def __init__(self, model: nn.Module, spec: Spec, tokens: Tokens, *, truncate: bool = False, weights: str | None = None) -> None:
        self._model, self._spec, self.tokens, self._truncate = model.eval().float(), spec, tokens, truncate
        weights = weights or state_hash(model)
        family = FAMILIES[spec.architecture]
        self._encoders: dict[str, Encoder[Any]] = {
            "image": HubImage(model, spec, weights),
            "text": HubText(model, spec, weights, tokens, family, truncate),
        }

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        """The image and the text encoder."""
        return self._encoders

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        """How scaled cosines become probabilities: sigmoid for SigLIP, else softmax."""
        return self._spec.score

    @property
    def spec(self) -> Spec:
        """What this model is."""
        return self._spec

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (scale, bias or 0), two scalars; ALIGN stores a temperature instead of a log scale."""
        model: Any = self._model
        scale = (model.logit_scale.exp() if hasattr(model, "logit_scale") else 1.0 / model.temperature).reshape(())
        bias = getattr(model, "logit_bias", None)
        return scale, torch.zeros_like(scale) if bias is None else bias.reshape(())

    def module(self) -> nn.Module:
        """Return transformers' own module."""
        return self._model

    def tower(self, modality: str) -> Tower:
        """Return the cut tower of "image" or "text".

        Raises:
            MissingHook: the tower is no transformer that can be cut.
        """
        from diptych.backbones.towers.of import tower_of

        return tower_of(self._model, modality, self._spec)

    def dense(self) -> Dense:
        """Return the dense maps of the image tower.

        Raises:
            MissingHook: the tower has none.
        """
        from diptych.backbones.dense import dense_of

        return dense_of(self._model, self._spec)

    def rebuild(self, module: nn.Module, spec: Spec) -> HuggingFace:
        """Return the same kind of backbone round another module of the same architecture, with its own fingerprint."""
        digest = state_hash(module)
        return HuggingFace(module, replace(spec, weights=f"state:{digest}"), self.tokens, truncate=self._truncate, weights=digest)


def _vectors(output: Any) -> Tensor:
    """Take the projected vectors: a tensor in transformers 4, ``pooler_output`` in 5."""
    vectors: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return vectors.float()


def _moved(x: Inputs, model: nn.Module) -> Tensor:
    tensor = x if isinstance(x, Tensor) else x["ids"]
    return tensor.to(next(model.parameters()).device)
