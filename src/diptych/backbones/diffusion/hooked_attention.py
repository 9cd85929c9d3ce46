"""Attention of a U-Net of diffusers, layer by layer, shown to a hook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from diptych.core import AttentionHook, Site
from diptych.core.diffusion import Widened


def sites_of(names: Sequence[str]) -> dict[str, Site]:
    """Return the site of each attention processor of a U-Net, by its name: "attn1" is self-attention, "attn2" cross;
    numbers follow the order in which the blocks run.
    """

    def run_order(name: str) -> tuple[int, list[int]]:
        stage = ("down", "mid", "up").index(name.split("_")[0])
        return stage, [int(part) for part in name.split(".") if part.isdigit()]

    counts = {"self": 0, "cross": 0}
    sites: dict[str, Site] = {}
    for name in sorted(names, key=run_order):
        kind: Literal["self", "cross"] = "self" if ".attn1." in name else "cross"
        sites[name] = Site(kind, name.split("_")[0], counts[kind])  # type: ignore[arg-type]
        counts[kind] += 1
    return {name: sites[name] for name in names}


class HookedAttention:
    """A processor of diffusers that shows its probabilities to a hook.

    Args:
        hook: sees and may replace the (B, heads, Q, K) probabilities.
    """

    def __init__(self, site: Site, hook: AttentionHook) -> None:
        self.site, self.hook = site, hook

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *unused: Any,
        **also_unused: Any,
    ) -> Tensor:
        """Attend, as the layers of a transformer block in a U-Net do: (B, Q, C) in and out."""
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        seen = Widened.read(self.hook, self.site, seen)
        mask = attn.prepare_attention_mask(attention_mask, seen.shape[1], len(seen))
        q, k, v = (
            attn.head_to_batch_dim(f(x)) for f, x in ((attn.to_q, hidden_states), (attn.to_k, seen), (attn.to_v, seen))
        )
        probabilities: Tensor = attn.get_attention_scores(q, k, mask)
        shown = probabilities.reshape(len(seen), attn.heads, *probabilities.shape[1:])
        replaced = self.hook(self.site, shown)
        if replaced is not None:
            probabilities = replaced.to(probabilities).flatten(0, 1)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(probabilities @ v)))
