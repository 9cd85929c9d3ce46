"""Copies of encoders for export: with bfloat16 weights, and with a last block that computes only the pooled token."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from diptych.backbones.engines.parity import rows
from diptych.core import Encoder, Inputs


def module_of(encoder: Encoder[Any]) -> tuple[str, nn.Module]:
    """Return the attribute that holds an encoder's module, and the module."""
    for name, value in vars(encoder).items():
        if isinstance(value, nn.Module):
            return name, value
    raise TypeError(f"{type(encoder).__name__} keeps its module where it is not found")


def in_bf16(encoder: Encoder[Any]) -> Callable[[Any], NDArray[np.float32]]:
    """Return the forward of a copy with bfloat16 weights; the other modality's tower is copied with it."""
    name, module = module_of(encoder)
    half = copy.copy(encoder)
    object.__setattr__(half, name, copy.deepcopy(module).bfloat16())
    return lambda x: rows(half, _halved_inputs(x))


def _halved_inputs(x: Inputs) -> Inputs:
    if isinstance(x, Tensor):
        return x.bfloat16() if x.is_floating_point() else x
    return {name: t.bfloat16() if t.is_floating_point() else t for name, t in x.items()}


E = TypeVar("E", bound=Encoder[Any])


def only_pooled(encoder: E) -> E:
    """Return an image encoder that ends in its class token alone, on the same weights.

    Args:
        encoder: any; one that is not open_clip's own vision transformer, or pools otherwise, is returned as it is.

    Example:
        >>> from diptych.backbones.lite import load_lite
        >>> image = load_lite().image
        >>> only_pooled(image) is image  # a convolutional tower
        True
    """
    name, module = module_of(encoder)
    if not _pools_class_token(getattr(module, "visual", None)):
        return encoder
    shared = {id(t): t for t in chain(module.parameters(), module.buffers())}
    short: Any = copy.deepcopy(module, shared)
    blocks = short.visual.transformer.resblocks
    blocks[-1] = _LastBlock(blocks[-1])
    changed = copy.copy(encoder)
    object.__setattr__(changed, name, short)
    return changed


class _LastBlock(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return (B, 1, D), z_0 of (B, T, D) tokens."""
        block: Any = self.block
        tokens, first = block.ln_1(x), x[:, :1]
        first = first + block.ls_1(block.attention(tokens[:, :1], tokens, tokens))
        return first + block.ls_2(block.mlp(block.ln_2(first)))


def _pools_class_token(tower: Any) -> bool:
    """Tell whether a tower is open_clip's own, gives its class token alone, and ends in a plain block."""
    if type(tower).__module__ != "open_clip.transformer":  # seconds of imports are saved where it is another
        return False
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    return (
        type(tower) is VisionTransformer
        and tower.pool_type == "tok"
        and tower.attn_pool is None
        and not tower.output_tokens
        and tower.transformer.batch_first
        and type(tower.transformer.resblocks[-1]) is ResidualAttentionBlock
    )
