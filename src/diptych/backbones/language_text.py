"""Texts as the mean hidden states of a language model, with its own tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.causal import HuggingFaceLM, load_causal
from diptych.backbones.spec import state_hash
from diptych.core import DataError, Inputs, TokenStates, UsageError


@dataclass(frozen=True, eq=False)
class LanguageText:
    """An encoder of texts: the mean of the last states of a text's tokens, with or without the causal mask.

    Args:
        lm: gives the states; a module itself, or an adapter that is built round one.
        ids: texts -> the token ids of each, without padding and special tokens.
        pad: id that fills short texts.
        identity: hash of the tokenizer.
        bidirectional: whether tokens attend to later ones too.
        limit: most tokens of a text; a longer one is refused.
        tokenizer: of transformers, for saving; None: the encoder cannot be saved.
        first: token ids before the instruction and the text, such as BOS, which are read and not counted in the mean.
    """

    lm: TokenStates
    network: nn.Module
    ids: Callable[[Sequence[str]], list[list[int]]]
    pad: int
    identity: str
    bidirectional: bool = True
    limit: int = 512
    tokenizer: Any = None
    first: tuple[int, ...] = ()
    modality = "text"
    size = None

    @classmethod
    def load(cls, name: str, *, offline: bool | None = None) -> LanguageText:
        """Load a causal language model of transformers by name; raises as ``backbones.causal.load_causal`` does."""
        model, tokenizer = load_causal(name, offline=offline)
        return cls.of(model, tokenizer)

    @classmethod
    def of(cls, model: nn.Module, tokenizer: Any, *, bidirectional: bool = True, limit: int = 512) -> LanguageText:
        """Return the encoder of a causal model of transformers and its tokenizer.

        Raises:
            DataError: the tokenizer has neither a padding nor an end token.
        """
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        if pad is None:
            raise DataError("The tokenizer of this language model has no padding and no end token: set pad_token.")
        begin = tokenizer.bos_token_id
        first = () if begin is None or begin not in tokenizer("")["input_ids"] else (int(begin),)

        words = repr(sorted(tokenizer.get_vocab().items()))
        identity = hashlib.sha256(f"{type(tokenizer).__name__}/{words}".encode()).hexdigest()
        ids = partial(_token_ids, tokenizer)
        return cls(HuggingFaceLM(model), model.eval(), ids, int(pad), identity, bidirectional, limit, tokenizer, first)

    @property
    def dim(self) -> int:
        """Width C of the states."""
        return self.lm.width

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and pooling."""
        facts = (state_hash(self.network), self.identity, self.bidirectional, self.limit, *self.first)
        return hashlib.sha256("/".join(map(str, facts)).encode()).hexdigest()[:16]

    def around(self, network: nn.Module) -> LanguageText:
        """Return the encoder with another network of the same architecture."""
        kind: Any = type(self.lm)
        lm: Any = network if isinstance(self.lm, nn.Module) else kind(network)
        return replace(self, lm=lm, network=network)

    def inputs(self, items: Sequence[str], size: int | None = None) -> Mapping[str, Tensor]:
        """Return {"ids", "mask", "counted"} of B texts; see ``read``."""
        return self.read(items)

    def read(self, items: Sequence[str], instruction: str = "") -> dict[str, Tensor]:
        """Return {"ids", "mask", "counted"} of B texts, each (B, L), padded on the right; an instruction before each
        text is read and not counted in the mean.

        Raises:
            UsageError: a text and the instruction have more tokens than the limit.
        """
        head = [*self.first, *(self.ids([instruction])[0] if instruction else [])]
        rows = [[*head, *row] for row in self.ids(items)]
        for text, row in zip(items, rows, strict=True):
            if len(row) > self.limit:
                raise UsageError(
                    f"{text[:40]!r}... has {len(row)} tokens, and this model is given {self.limit}: shorten it."
                )
        width = max((len(row) for row in rows), default=0)
        mask = torch.tensor([[i < len(row) for i in range(width)] for row in rows], dtype=torch.bool)
        mask = mask.reshape(len(rows), width)
        filled = [[*row, *[self.pad] * (width - len(row))] for row in rows]
        ids = torch.tensor(filled, dtype=torch.int64).reshape(len(rows), width)
        return {"ids": ids, "mask": mask, "counted": mask & (torch.arange(width) >= len(head))}

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, C) float32 means of the states of the counted tokens."""
        assert not isinstance(x, Tensor)
        device = next(self.network.parameters()).device
        ids, mask, counted = (x[name].to(device) for name in ("ids", "mask", "counted"))
        if not len(ids):
            return torch.empty(0, self.dim, device=device)
        h = self.lm.states(self.lm.embed(ids), mask, bidirectional=self.bidirectional).float()
        h = h.masked_fill(~counted[..., None], 0.0)
        return h.sum(1) / counted.sum(1, keepdim=True).clamp(min=1)


def _token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of texts without special tokens. No closure: workers that are not forked get the encoder."""
    options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    rows = tokenizer(list(texts), **options)["input_ids"] if texts else []
    return [[int(i) for i in row] for row in rows]
