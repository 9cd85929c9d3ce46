"""An image tower whose last block computes only the token that is pooled: nothing reads its other outputs.

    y_0 = x_0 + MHA(LN(x_0), LN(x), LN(x)),   z_0 = y_0 + MLP(LN(y_0))

x: (B, T, D) tokens before the last block, x_0 the class token; all of them are keys and values
z_0: (B, 1, D) what the block gives for the class token

Of the block's 12 D^2 products a token, 2 D^2 remain for the others. The vectors are the same but for rounding.
"""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any, TypeVar

from torch import Tensor, nn

from diptych.backbones.engines.half import module_of
from diptych.core import Encoder

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
        out: Tensor = first + block.ls_2(block.mlp(block.ln_2(first)))
        return out


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
