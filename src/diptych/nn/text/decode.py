"""Decoding writes sequences of tokens after a prefix, with any language model; beam search is in ``beams``.

A sequence never depends on its batch mates: prefixes may differ in length, and sampling takes its random numbers item
by item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, pad, softmax

from diptych.core import DataError, LanguageModel, UsageError


@dataclass(frozen=True)
class Prefix:
    """What is read before the first token is written.

    Args:
        embeds: (B, T, C) with T >= 1: embedded prompts, projected image vectors, or both.
        mask: (B, T) bool, True for real tokens; padding is on the left. None: all are real.
        memory: (B, M, D) vectors for cross-attention. None: there are none.

    Raises:
        UsageError: no token, a mask of another size, or a mask that ends in padding.
    """

    embeds: Tensor
    mask: Tensor | None = None
    memory: Tensor | None = None

    def __post_init__(self) -> None:
        if self.embeds.ndim != 3 or self.embeds.shape[1] == 0:
            raise UsageError(
                f"embeds must be (B, T, C) with at least one token, got {tuple(self.embeds.shape)}: begin with the "
                f"BOS token."
            )
        if self.mask is None:
            return
        if self.mask.shape != self.embeds.shape[:2]:
            raise UsageError(f"mask must be (B, T) = {tuple(self.embeds.shape[:2])}, got {tuple(self.mask.shape)}.")
        if not bool(self.mask[:, -1].all()):
            raise UsageError("A prefix ends in padding: pad on the left, so that the last token of every row is real.")


@dataclass(frozen=True)
class Decoded:
    """B x n written sequences, the best first.

    Args:
        tokens: (B, n, L) int64: the end token included, then ``end`` again (-1 if there is none).
        lengths: (B, n) int64, number of tokens, the end token included.
        log_probs: (B, n, L) log-probability of each token under the model itself (no temperature, filter or penalty); 0
            after the end.
        scores: (B, n) by which sequences are ranked: the sum of ``log_probs``, and of beams over their length, less the
            penalties of diverse beams.
    """

    tokens: Tensor
    lengths: Tensor
    log_probs: Tensor
    scores: Tensor


def greedy(model: LanguageModel, prefix: Prefix, *, limit: int, end: int | None) -> Decoded:
    """Take the most likely token each time; of ties the smallest id.

    Args:
        model: any language model.
        prefix: B prefixes.
        limit: tokens to write, at most.
        end: id of the token that ends a sequence. None: write ``limit`` tokens.

    Returns:
        One sequence a prefix.

    Raises:
        UsageError: ``limit`` is below 1.
    """
    return _walk(model, prefix, 1, limit, end, lambda logits, step: logits.argmax(dim=-1))


def sample(model: LanguageModel, prefix: Prefix, uniforms: Tensor, *, end: int | None) -> Decoded:
    """Draw each token from the model's distribution.

    Args:
        model: any language model.
        prefix: B prefixes.
        uniforms: (B, n, limit) numbers in [0, 1): n sequences a prefix, one number per token.
        end: id of the token that ends a sequence. None: write ``limit`` tokens.

    Returns:
        n sequences a prefix, in the order of the draws; ``scores`` are plain sums of log-probabilities.
    """
    n, limit = uniforms.shape[1:]
    rows = uniforms.reshape(-1, limit)

    def choose(logits: Tensor, step: int) -> Tensor:
        return inverse_cdf(logits, rows[:, step].to(logits.device))

    return _walk(model, prefix, n, limit, end, choose)


def inverse_cdf(logits: Tensor, u: Tensor) -> Tensor:
    """Return (R,) token ids: the first whose cumulative probability, in order of ids, exceeds ``u`` (R,)."""
    probabilities = softmax(logits.double(), dim=-1)
    total = probabilities.cumsum(dim=-1)
    # rounding may leave the last sum below 1, so the draw is scaled by it: a token of probability 0 is never drawn
    ids = torch.searchsorted(total, u[:, None].double() * total[:, -1:], right=True)[:, 0]
    last = logits.shape[-1] - 1 - probabilities.flip(-1).gt(0).int().argmax(dim=-1)
    return torch.minimum(ids, last)


def log_likelihood(model: LanguageModel, prefix: Prefix, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Return the (B, n, L) log-probabilities of written sequences, read in one pass, with gradient; 0 after the end.

    Args:
        model: any language model.
        prefix: B prefixes.
        tokens: (B, n, L) ids, as ``Decoded`` holds them.
        lengths: (B, n).
    """
    n, length = tokens.shape[1:]
    rows = torch.arange(len(tokens), device=tokens.device).repeat_interleave(n)
    real = torch.arange(length, device=tokens.device) < lengths.reshape(-1, 1)
    ids = tokens.reshape(-1, length).masked_fill(~real, 0)
    start, memory = real_tokens(prefix)[rows], None if prefix.memory is None else prefix.memory[rows]
    embeds = torch.cat([prefix.embeds[rows], model.embed(ids[:, :-1])], dim=1)
    logits, _ = model.logits(embeds, torch.cat([start, real[:, :-1]], dim=1), memory, None)
    log_probs = log_softmax(logits[:, -length:].float(), dim=-1).gather(-1, ids[..., None])[..., 0]
    return log_probs.masked_fill(~real, 0.0).reshape(tokens.shape)


def check_limit(limit: int) -> None:
    """Refuse a limit below 1.

    Raises:
        UsageError: it is below 1.
    """
    if limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}: let at least one token be written.")


def real_tokens(prefix: Prefix) -> Tensor:
    """Return the (B, T) bool mask of a prefix."""
    return (
        torch.ones(prefix.embeds.shape[:2], dtype=torch.bool, device=prefix.embeds.device)
        if prefix.mask is None
        else prefix.mask.bool()
    )


class Reader:
    """Feeds a language model: the prefix once, then one token for each row and step.

    Args:
        prefix: B prefixes, which are read at once.
        copies: rows a prefix; R = B * copies.

    Attributes:
        next: (R, V) logits of the next token.

    Raises:
        DataError: the model gives NaN for the first token.
    """

    def __init__(self, model: LanguageModel, prefix: Prefix, copies: int) -> None:
        self.model, self.mask = model, real_tokens(prefix)
        logits, self.cache = model.logits(prefix.embeds, self.mask, prefix.memory, None)
        rows = torch.arange(len(self.mask), device=self.mask.device).repeat_interleave(copies)
        self.memory = None if prefix.memory is None else prefix.memory[rows]
        self.cache, self.mask = self.cache.take(rows), self.mask[rows]
        self.next = logits[rows, -1].float()
        if bool(self.next.isnan().any()):  # of which the best token would be the first
            raise DataError(
                "The language model gives NaN for the first token: its weights, or those of the model before it, are "
                "damaged or too large for this precision; get them again, or use fp32."
            )

    def read(self, tokens: Tensor, rows: Tensor | None = None) -> None:
        """Read one token for each row.

        Args:
            tokens: (R,) ids.
            rows: (R,) row that each one continues, of the same prefix. None: its own.
        """
        cache = self.cache if rows is None else self.cache.take(rows)
        self.mask = pad(self.mask, (0, 1), value=True)
        logits, self.cache = self.model.logits(self.model.embed(tokens[:, None]), self.mask, self.memory, cache)
        self.next = logits[:, -1].float()


@torch.no_grad()
def _walk(
    model: LanguageModel, prefix: Prefix, n: int, limit: int, end: int | None, choose: Callable[[Tensor, int], Tensor]
) -> Decoded:
    check_limit(limit)
    reader = Reader(model, prefix, n)
    rows, device = len(prefix.embeds) * n, prefix.embeds.device
    tokens = torch.full((rows, limit), -1 if end is None else end, device=device)
    log_probs = torch.zeros(rows, limit, device=device)
    lengths = torch.zeros(rows, dtype=torch.int64, device=device)
    running = torch.ones(rows, dtype=torch.bool, device=device)
    for step in range(limit):
        if step:
            reader.read(tokens[:, step - 1])
        chosen = choose(reader.next, step)
        log_prob = log_softmax(reader.next, dim=-1).gather(1, chosen[:, None])[:, 0]
        tokens[:, step] = torch.where(running, chosen, tokens[:, step])
        log_probs[:, step] = log_prob.masked_fill(~running, 0.0)
        lengths += running
        running = running & (chosen != end) if end is not None else running
        if not running.any():
            break
    longest, shape = int(lengths.max()), (-1, n)
    tokens, log_probs = tokens[:, :longest].reshape(*shape, longest), log_probs[:, :longest].reshape(*shape, longest)
    return Decoded(tokens, lengths.reshape(shape), log_probs, log_probs.sum(dim=-1))
