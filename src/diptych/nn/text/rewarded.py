"""Self-critical training: a language model writes, what it wrote is rewarded, and the reward moves its likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import Backbone, Clock, ParamGroup, Row, Run, Texts, Trainee
from diptych.data.captions import PROMPT
from diptych.features.embed import embed
from diptych.nn.text.decode import Decoded, Prefix, greedy, log_likelihood, sample
from diptych.nn.text.grammar import GrammarHead
from diptych.nn.text.small_lm import SmallLM
from diptych.nn.text.vocabulary import BEGIN, END, Vocabulary


def policy_loss(log_probs: Tensor, advantage: Tensor, lengths: Tensor) -> Tensor:
    """Return the loss whose gradient is REINFORCE's, averaged over words.

        loss = - sum over b, j, t of m_bjt r_bj log p_bjt / sum of m

    m_bjt: 1 for the words of a text and its end token, 0 after them

    Args:
        log_probs: (B, n, L) log p, with gradient.
        advantage: (B, n) r, the reward of each text less that of the text it is compared with.
        lengths: (B, n) tokens, the end token included.

    Source: Rennie et al. 2017, equation 9.

    Example:
        >>> log_p = torch.tensor([[[-1.0, -2.0], [-3.0, 0.0]]])
        >>> round(policy_loss(log_p, torch.tensor([[1.0, -0.5]]), torch.tensor([[2, 1]])).item(), 6)
        0.5
    """
    real = torch.arange(log_probs.shape[-1], device=log_probs.device) < lengths[..., None]
    return -(log_probs * advantage[..., None] * real).sum() / real.sum().clamp(min=1)


def clip_s(z: Tensor, t: Tensor) -> Tensor:
    """Return CLIPScore as a reward, (B, n): 2.5 max(cos, 0).

    Args:
        z: (B, D) unit image embeddings.
        t: (B, n, D) unit embeddings of texts.
    """
    return 2.5 * torch.einsum("bd,bnd->bn", z, t).clamp(min=0)


def judged_texts(backbone: Backbone, texts: Sequence[str], run: Run) -> Tensor:
    """Return (N, D) unit embeddings of captions behind the prompt."""
    return normalize(embed(backbone.text, Texts(tuple(PROMPT + text for text in texts)), run), dim=-1)


@dataclass
class Reward:
    """What a caption is worth to an image; each text is embedded once.

    Args:
        weight: lambda, of CLIPScore.
        grammar: gamma, of the probability that a caption is grammatical.
        head: knows grammar; None: grammar is not rewarded.
        run: device; sampled texts are not stored.
        known: text -> (D,) unit embedding.
    """

    backbone: Backbone
    weight: float
    grammar: float
    head: GrammarHead | None
    run: Run
    known: dict[str, Tensor] = field(default_factory=dict)

    def of(self, z: Tensor, captions: Sequence[Sequence[str]]) -> Tensor:
        """Return the (B, n) rewards of n captions each of B images with (B, D) unit embeddings."""
        t = self._embedded([text for several in captions for text in several]).reshape(len(captions), -1, z.shape[-1])
        reward = self.weight * clip_s(z.cpu(), t)
        return reward if self.head is None else reward + self.grammar * self.head.probability(t)

    def _embedded(self, texts: Sequence[str]) -> Tensor:
        new = tuple(text for text in dict.fromkeys(texts) if text not in self.known)
        if new:
            self.known |= dict(zip(new, judged_texts(self.backbone, new, replace(self.run, cache=None)), strict=True))
        return torch.stack([self.known[text] for text in texts])


def begin(lm: SmallLM, memory: Tensor) -> Prefix:
    """Return the prefixes of (B, T, D) memories: the begin token alone."""
    return Prefix(lm.embed(torch.full((len(memory), 1), BEGIN, device=memory.device)), memory=memory)


class RewardTrainee(Trainee):
    """Trains a captioner on the reward of what it samples, against that of what it would write.

    Args:
        z: (N, D) unit image embeddings that the reward sees, one per row of the table.
        samples: n, samples per image.
        limit: most tokens of a caption.
    """

    def __init__(
        self, lm: SmallLM, reward: Reward, z: Tensor, vocabulary: Vocabulary, samples: int, limit: int
    ) -> None:
        self._lm, self._reward, self._z, self._vocabulary = lm, reward, z, vocabulary
        self._samples, self._limit = samples, limit

    def module(self) -> nn.Module:
        """Return the captioner."""
        return self._lm

    def groups(self) -> list[ParamGroup]:
        """Return all its parameters."""
        return [ParamGroup(tuple(name for name, _ in self._lm.named_parameters()))]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Tensor]:
        """Return the image tokens, and what the reward sees of the image."""
        return {"memory": row.item, "z": self._z[row.index]}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the loss of n samples per image."""
        n, limit, prefix = self._samples, self._limit, begin(self._lm, batch["memory"])
        uniforms = torch.rand(len(batch["z"]), n, limit, generator=clock.generator, dtype=torch.float64)
        drawn = sample(self._lm, prefix, uniforms, end=END)
        best = greedy(self._lm, prefix, limit=limit, end=END)
        with torch.no_grad():
            reward = self._reward.of(batch["z"], self._words(drawn)) - self._reward.of(batch["z"], self._words(best))
        log_probs = log_likelihood(self._lm, prefix, drawn.tokens, drawn.lengths)
        return {"reward": policy_loss(log_probs, reward.to(log_probs), drawn.lengths)}

    def _words(self, decoded: Decoded) -> list[list[str]]:
        return [[self._vocabulary.plain(ids) for ids in row] for row in decoded.tokens.tolist()]
