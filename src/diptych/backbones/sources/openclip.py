"""open_clip models as a Backbone: the library's towers, our inputs, nothing guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from diptych.backbones.module_backbone import ModuleBackbone, ModuleImage, ModuleText, on_device, scale_and_bias
from diptych.backbones.pixels import image_batch
from diptych.backbones.sources.openclip_config import architecture
from diptych.backbones.spec import state_hash
from diptych.backbones.tokens import Tokens, padded
from diptych.core import Inputs, Spec


class OpenClipImage(ModuleImage):
    """The image encoder of CLIP, CustomTextCLIP or CoCa."""

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 3, S, S) normalised pixels of B images.

        Args:
            items: PIL images of any size, or float tensors (3, S, S) in [0, 1], which stay differentiable.
            size: another side S, for towers without a position table (ConvNeXt, FastViT).

        Raises:
            UsageError: the tower has a fixed side and ``size`` differs, or a tensor has another shape.
        """
        trunk = getattr(self.model.visual, "trunk", None)
        any_side = trunk is not None and getattr(trunk, "pos_embed", None) is None
        return image_batch(items, self.spec.pixels, size, any_side=any_side)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings of (B, 3, S, S) normalised pixels."""
        out: Tensor = self.model.encode_image(on_device(x, self.model), normalize=False)  # type: ignore[operator]
        return out.float()


class OpenClipText(ModuleText):
    """The text encoder of CLIP, CustomTextCLIP or CoCa."""

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        """Return (B, L) int64 token ids.

        L is the longest text's length where padding has no effect, else the context length.

        Raises:
            UsageError: a text is longer than the context and the backbone was not loaded with ``truncate=True``.
            NotAvailable: a random-weight model whose tokenizer is not on this machine.
        """
        return padded(self.tokens, items, self.spec.context, trim=trimmable(self.model), truncate=self.truncate)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings of (B, L) token ids."""
        ids = on_device(x, self.model)
        if ids.shape[1] < self.spec.context and trimmable(self.model):
            return encode_short_text(self.model, ids).float()
        out: Tensor = self.model.encode_text(ids, normalize=False)  # type: ignore[operator]
        return out.float()


def trimmable(model: nn.Module) -> bool:
    """Return whether padding has no effect: with a causal mask, and pooling at a token of the text."""
    text: Any = getattr(model, "text", model)
    pooling = getattr(text, "pool_type", None) or getattr(text, "text_pool_type", None)
    causal = getattr(text, "attn_mask", None) is not None
    return causal and getattr(text, "cls_emb", None) is None and pooling in ("argmax", "eos", "first")


def encode_short_text(model: nn.Module, ids: Tensor) -> Tensor:
    """Encode (B, L) ids with L below the context length: open_clip's text forward with positions and mask cut to L.

    open_clip's ``encode_text`` needs the full length: 77 tokens for the five of a class name.
    """
    from open_clip.transformer import text_global_pool

    text: Any = getattr(model, "text", model)
    length = ids.shape[1]
    h = text.token_embedding(ids) + text.positional_embedding[:length]
    h = text.ln_final(text.transformer(h, attn_mask=text.attn_mask[:length, :length]))
    pooling = getattr(text, "pool_type", None) or text.text_pool_type
    end = text.eos_id if hasattr(text, "eos_id") else text.text_eos_id
    h = text_global_pool(h, ids, pooling, eos_token_id=end)
    projection = text.text_projection
    if projection is not None:
        h = projection(h) if isinstance(projection, nn.Linear) else h @ projection
    return h


class OpenClip(ModuleBackbone):
    """An open_clip model, its tokenizer and its pixel recipe.

    The module is put in eval mode; its weights must not change afterwards (use ``rebuild`` after training).

    Args:
        model: CLIP, CustomTextCLIP or CoCa.
        config: open_clip's ``model_cfg``, needed for saving only.
        truncate: cut texts that are too long instead of raising.
        weights: hash of the weights; None: computed from the tensors.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: Spec,
        tokens: Tokens,
        *,
        config: Mapping[str, Any] | None = None,
        truncate: bool = False,
        weights: str | None = None,
    ) -> None:
        weights = weights or state_hash(model)
        text = OpenClipText(model, spec, weights, tokens, truncate)
        super().__init__(model, spec, {"image": OpenClipImage(model, spec, weights), "text": text})
        self.tokens, self.config, self._truncate = tokens, config, truncate

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (exp of the learnt log scale, logit bias or 0), two scalars."""
        model: Any = self._model
        return scale_and_bias(model.logit_scale.exp(), getattr(model, "logit_bias", None))

    def as_config(self, config: Mapping[str, Any]) -> OpenClip:
        """Return the same weights as an unchanged model of another ``model_cfg``, which builds such a module."""
        spec = replace(self.spec, architecture=architecture(config), changes=())
        return OpenClip(self._model, spec, self.tokens, config=config, truncate=self._truncate)

    def rebuild(self, module: nn.Module, spec: Spec) -> OpenClip:
        """Return a backbone with another module of the same architecture, and its own fingerprint."""
        digest = state_hash(module)
        return OpenClip(
            module, replace(spec, weights=f"state:{digest}"), self.tokens, config=self.config, truncate=self._truncate,
            weights=digest,
        )  # fmt: skip
