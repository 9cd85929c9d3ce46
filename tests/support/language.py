"""Small language models whose answers can be worked out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diptych.core import Cache


class Bigram:
    """A language model whose next token depends on the last one and its place, by a table of random logits that
    sharpens on the way.
    """

    def __init__(self, vocabulary: int, seed: int) -> None:
        self.vocabulary = self.width = vocabulary
        self.table = 2 * torch.randn(vocabulary, vocabulary, generator=torch.Generator().manual_seed(seed))

    def embed(self, ids: Tensor) -> Tensor:
        return torch.eye(self.vocabulary)[ids]

    def logits(
        self, embeds: Tensor, mask: Tensor, memory: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        places = (mask.long().cumsum(dim=1) - 1)[:, -embeds.shape[1] :]
        return embeds @ self.table * (1 + 0.1 * places[..., None]), Cache(())

    def after(self, place: int) -> Tensor:
        """(V, V) logits of the token that follows each token at a place, from 0."""
        return self.table * (1 + 0.1 * place)


def tiny_gpt2(vocabulary: int) -> Any:
    """A GPT-2 with random weights large enough that its choices differ, in eval mode."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=3
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
        for p in model.parameters():
            if p.ndim == 2:
                torch.nn.init.normal_(p, std=0.4)
    return model.eval()


def tiny_llama(vocabulary: int) -> Any:
    """A Llama with random weights, in eval mode; its layers are linear, as adapters need them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=3, eos_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        for p in model.parameters():
            if p.ndim == 2:
                torch.nn.init.normal_(p, std=0.4)
    return model.eval()
