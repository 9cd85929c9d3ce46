"""Beam search finds the best sequences of any language model, alone or in groups that avoid each other's words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from diptych.core import LanguageModel, UsageError
from diptych.nn.text.decode import Decoded, Prefix, Reader, check_limit


@torch.no_grad()
def beam(
    model: LanguageModel,
    prefix: Prefix,
    *,
    beams: int,
    limit: int,
    end: int | None,
    n: int = 1,
    groups: int = 1,
    diversity: float = 0.5,
) -> Decoded:
    """Keep the best beginnings of sequences, in groups that avoid each other's words.

    Sequences are ranked by their sum of log-probabilities over their length. A group stops when it holds
    ``beams / groups`` ended sequences, and no beginning, at its own length, scores better than the worst of them.

    Args:
        model: any language model.
        prefix: B prefixes.
        beams: beginnings that are kept, over all groups.
        limit: tokens to write, at most.
        end: id of the token that ends a sequence. None: write ``limit`` tokens.
        n: sequences to return, at most ``beams``.
        groups: 1 is plain beam search; otherwise a divisor of ``beams``. Groups take turns at each step.
        diversity: subtracted from a token's log-probability for each beam of an earlier group that took the token at
            the same step.

    Returns:
        n sequences a prefix. A group's penalties are part of ``scores``.

    Raises:
        UsageError: numbers that contradict each other.

    Source: Vijayakumar et al. 2018 (diverse beam search), Hamming diversity.
    """
    if beams < 1 or groups < 1 or beams % groups or not 1 <= n <= beams:
        raise UsageError(
            f"Beam search needs beams >= n >= 1 and groups that divide beams, not beams={beams}, n={n}, "
            f"groups={groups}."
        )
    check_limit(limit)
    width, device, batch = beams // groups, prefix.embeds.device, len(prefix.embeds)
    if width > model.vocabulary - 1:
        raise UsageError(
            f"A group of {width} beams needs more than {model.vocabulary} tokens to choose from: use fewer beams."
        )
    reader = Reader(model, prefix, beams)
    live = _Hypotheses.empty((batch, groups, width), limit, end, device)
    ended, live = (
        live,
        replace(live, scores=live.scores.index_fill(2, torch.tensor([0], device=device), 0.0)),
    )  # one beginning, not w equal ones
    running = torch.ones(batch, groups, dtype=torch.bool, device=device)
    first = torch.arange(batch * groups, device=device).reshape(batch, groups, 1) * width
    for step in range(limit):
        log_probs = log_softmax(reader.next, dim=-1).reshape(batch, groups, width, -1)
        totals, parents, ids, continued = _extensions(
            log_probs, live.scores, running, diversity if groups > 1 else 0.0, end
        )
        chosen = log_probs.flatten(2).gather(2, parents * log_probs.shape[-1] + ids)
        candidates = live.take(parents).extended(step, ids, chosen, totals)
        # an end counts only among the w best extensions; at the limit they all end
        ends = torch.ones_like(ids, dtype=torch.bool) if step == limit - 1 else ids == (-1 if end is None else end)
        accepted = ends & running[..., None] & (torch.arange(ids.shape[-1], device=device) < width)
        ranked = (totals / (step + 1)).masked_fill(~accepted, -torch.inf)
        ended = ended.joined(replace(candidates, scores=ranked))
        ended = ended.take(ended.scores.topk(width).indices)
        live = candidates.take(continued)
        running = running & (live.scores[..., 0] / (step + 1) > ended.scores.min(dim=-1).values)
        if step == limit - 1 or not running.any():
            break
        reader.read(live.tokens[..., step].flatten(), (first + parents.gather(2, continued)).flatten())
    return ended.best(n)


@dataclass(frozen=True)
class _Hypotheses:
    """k sequences for each of B prefixes and G groups.

    Args:
        scores: (B, G, k); -inf where there is no sequence.
        tokens: (B, G, k, L) int64.
        log_probs: (B, G, k, L), the model's own.
        lengths: (B, G, k).
    """

    scores: Tensor
    tokens: Tensor
    log_probs: Tensor
    lengths: Tensor

    @classmethod
    def empty(cls, shape: tuple[int, int, int], limit: int, end: int | None, device: torch.device) -> _Hypotheses:
        return cls(
            torch.full(shape, -torch.inf, device=device),
            torch.full((*shape, limit), -1 if end is None else end, device=device),
            torch.zeros(*shape, limit, device=device),
            torch.zeros(shape, dtype=torch.int64, device=device),
        )

    def take(self, index: Tensor) -> _Hypotheses:
        """Return sequences ``index`` (B, G, m) of every group."""
        wide = index[..., None].expand(*index.shape, self.tokens.shape[-1])
        return _Hypotheses(
            self.scores.gather(2, index),
            self.tokens.gather(2, wide),
            self.log_probs.gather(2, wide),
            self.lengths.gather(2, index),
        )

    def extended(self, step: int, ids: Tensor, log_probs: Tensor, scores: Tensor) -> _Hypotheses:
        """Return the sequences with token ``step`` set to ``ids``."""
        at = torch.tensor([step], device=ids.device)
        return _Hypotheses(
            scores,
            self.tokens.index_copy(3, at, ids[..., None]),
            self.log_probs.index_copy(3, at, log_probs[..., None]),
            torch.full_like(self.lengths, step + 1),
        )

    def joined(self, other: _Hypotheses) -> _Hypotheses:
        """Return the sequences of both."""
        return _Hypotheses(
            torch.cat([self.scores, other.scores], dim=2),
            torch.cat([self.tokens, other.tokens], dim=2),
            torch.cat([self.log_probs, other.log_probs], dim=2),
            torch.cat([self.lengths, other.lengths], dim=2),
        )

    def best(self, n: int) -> Decoded:
        """Return the n best of all groups."""
        pooled = _Hypotheses(
            *(t.flatten(1, 2)[:, None] for t in (self.scores, self.tokens, self.log_probs, self.lengths))
        )
        top = pooled.take(pooled.scores.topk(n).indices)
        longest = int(top.lengths.max())
        return Decoded(
            top.tokens[:, 0, :, :longest], top.lengths[:, 0], top.log_probs[:, 0, :, :longest], top.scores[:, 0]
        )


def _extensions(
    log_probs: Tensor, scores: Tensor, running: Tensor, diversity: float, end: int | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find the 2 w best one-token extensions of each group's w beginnings, group after group.

    Args:
        log_probs: (B, G, w, V).
        scores: (B, G, w) sums so far.
        running: (B, G) whether a group still searches; the words of one that has stopped are not penalised.
        diversity: penalty for each earlier use of a word at this step.
        end: the end token, after which a sequence cannot continue.

    Returns:
        Sums, parents and ids, (B, G, 2 w) each, the best first; and which w of them to continue, (B, G, w).
    """
    batch, groups, width, vocabulary = log_probs.shape
    used = log_probs.new_zeros(batch, 1, vocabulary)
    per_group = []
    for g in range(groups):
        sums = (scores[:, g, :, None] + log_probs[:, g] - diversity * used).flatten(1)
        totals, flat = sums.topk(min(2 * width, width * vocabulary))
        ids = flat % vocabulary
        open_ends = totals if end is None else totals.masked_fill(ids == end, -torch.inf)
        best, continued = open_ends.topk(width)
        counted = best.isfinite() & running[:, g, None]
        used = used + (one_hot(ids.gather(1, continued), vocabulary) * counted[..., None]).sum(dim=1, keepdim=True)
        per_group.append((totals, flat // vocabulary, ids, continued))
    totals, parents, ids, continued = (torch.stack(t, dim=1) for t in zip(*per_group, strict=True))
    return totals, parents, ids, continued
