"""A small language model of our own: a decoder-only transformer, with cross-attention if it is given a memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from diptych.core import Cache, UsageError


class SmallLM(nn.Module):
    """A pre-norm GPT with learned positions and an output layer tied to the token embeddings.

    Args:
        vocabulary: V.
        width: C, a multiple of ``heads``.
        context: longest sequence, prefix included.
        memory: width D of the vectors for cross-attention. None: blocks have none.

    Raises:
        UsageError: ``heads`` do not divide ``width``.

    Source: Radford et al. 2019 (GPT-2); cross-attention between self-attention and MLP after Vaswani et al. 2017.

    Example:
        >>> import torch
        >>> model = SmallLM(vocabulary=10, width=8, depth=1, heads=2)
        >>> logits, _ = model.logits(model.embed(torch.tensor([[1, 4, 2]])), torch.ones(1, 3))
        >>> logits.shape
        torch.Size([1, 3, 10])
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        context: int = 64,
        memory: int | None = None,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"heads must divide width, got {heads} heads and width {width}: choose another number.")
        self.vocabulary, self.width, self.context = vocabulary, width, context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList([_Block(width, heads, memory) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def embed(self, ids: Tensor) -> Tensor:
        """Return (B, T, C) token embeddings, before positions."""
        embedded: Tensor = self.tokens(ids)
        return embedded

    def logits(
        self, embeds: Tensor, mask: Tensor, memory: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Read (B, T, C) tokens after those of the cache; see ``core.language.LanguageModel``.

        Raises:
            UsageError: the sequence is longer than the context, or memory is given to a model without, or missing for
                one with.
        """
        h, layers = self._read(embeds, mask, memory, cache, bidirectional=False)
        return h @ self.tokens.weight.T, Cache(tuple(layers))

    def states(self, embeds: Tensor, mask: Tensor, *, bidirectional: bool) -> Tensor:
        """Return (B, T, C) normed states; see ``core.language.TokenStates``.

        Raises:
            UsageError: the sequence is longer than the context, or the model needs a memory.
        """
        return self._read(embeds, mask, None, None, bidirectional=bidirectional)[0]

    def _read(
        self, embeds: Tensor, mask: Tensor, memory: Tensor | None, cache: Cache | None, *, bidirectional: bool
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return the normed states of the new tokens, and keys and values of every layer."""
        if (memory is None) != (self.blocks[0].cross is None):
            raise UsageError(
                "Memory must be given to a model that was built with it, and to no other: see SmallLM(memory=...)."
            )
        if mask.shape[1] > self.context:
            raise UsageError(
                f"{mask.shape[1]} tokens do not fit in the context of {self.context}: shorten the prefix or the limit."
            )
        new = embeds.shape[1]
        positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -new:]
        order = torch.arange(mask.shape[1], device=mask.device)
        visible = (order[None, :] <= order[-new:, None]) | bidirectional
        # A padded token attends to itself, so that no row of attention is empty.
        seen = (visible & mask[:, None, :].bool()) | (order[None, :] == order[-new:, None])
        h = embeds + self.positions(positions)
        layers = []
        for i, block in enumerate(self.blocks):
            h, keys_values = block(h, seen[:, None], memory, None if cache is None else cache.layers[i])
            layers.append(keys_values)
        normed: Tensor = self.norm(h)
        return normed, layers


class _Block(nn.Module):
    """Self-attention, cross-attention if there is a memory, and an MLP, each on normed tokens with a residual."""

    def __init__(self, width: int, heads: int, memory: int | None) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, width)
        self.cross = None if memory is None else _Attention(width, heads, memory)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(
        self, h: Tensor, seen: Tensor, memory: Tensor | None, past: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, keys_values = self.attention(h, None, seen, past)
        h = h + attended
        if self.cross is not None:
            h = h + self.cross(h, memory, None, None)[0]
        return h + self.mlp(h), keys_values


class _Attention(nn.Module):
    """Attention of normed tokens to themselves and the past, or to a memory."""

    def __init__(self, width: int, heads: int, source: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(source, 2 * width)

    def forward(
        self, h: Tensor, source: Tensor | None, seen: Tensor | None, past: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h = self.norm(h)
        q, k, v = (
            self._split(t) for t in (self.query(h), *self.key_value(h if source is None else source).chunk(2, dim=-1))
        )
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(attended.transpose(1, 2).flatten(2)), (k, v)

    def _split(self, t: Tensor) -> Tensor:
        """(B, T, C) -> (B, heads, T, d)."""
        return t.reshape(*t.shape[:2], self.heads, -1).transpose(1, 2)
