"""The small denoiser with a CLIP text tower as one part, ``TextDiffusion``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from diptych.backbones.diffusion.patch_denoiser import DenoiserLayout, PatchDenoiser, noise_in
from diptych.core import AttentionHook, Backbone, Condition, MissingHook, TextReading, UsageError

STEPS, FIRST, LAST = 1000, 1e-4, 2e-2
"""Steps of the training, and the variance that the first and the last of them add (Ho et al. 2020)."""


def alphas_cumprod() -> Tensor:
    """Return a_t, (STEPS,) float64: the product of 1 - b_i over i <= t, with b_i from ``FIRST`` to ``LAST`` evenly."""
    return torch.cumprod(1 - torch.linspace(FIRST, LAST, STEPS, dtype=torch.float64), 0)


WHOLE = TextReading()
"""The tokens of each text from its start to its end, after all blocks."""


@dataclass(frozen=True)
class TextTokens:
    """The tokens of a backbone's text tower, read as a denoiser reads them.

    Args:
        backbone: with a causal text tower, whose end token has the largest id.
        reading: how; by default each text from its start to its end token, after all blocks.

    Raises:
        MissingHook: it has no text tower, or a smaller one than is read.
    """

    backbone: Backbone
    reading: TextReading = WHOLE

    def __post_init__(self) -> None:
        spec, depth = self.backbone.spec, self.backbone.tower("text").depth
        blocks, length = self.reading.layers or 0, self.reading.length or 0
        if blocks > depth or length > (spec.context or length):
            raise MissingHook(
                f"{blocks} blocks of a text tower and {length} tokens are read, and {spec.name} has {depth} and "
                f"{spec.context}: give the backbone whose text tower the denoiser was trained with."
            )

    @property
    def width(self) -> int:
        """Width of a token."""
        return self.backbone.tower("text").width

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Return (B, L) ids of B texts.

        Raises:
            UsageError: a text has more tokens than the denoiser reads.
        """
        x = self.backbone.text.inputs(list(texts))
        ids = x if isinstance(x, Tensor) else x["ids"]
        ends, length = ids.argmax(1), self.reading.length
        longest = int(ends.max()) + 1
        if length is None:
            return ids[:, :longest]
        if longest > length:
            raise UsageError(f"A prompt has {longest} tokens, and {length} are read: shorten it.")
        filled = torch.nn.functional.pad(ids[:, :longest], (0, length - longest))
        behind = torch.arange(length, device=ids.device) > ends[:, None]
        return filled.masked_fill(behind, self.reading.pad)

    def condition(self, ids: Tensor) -> Condition:
        """Return the normed tokens of (B, L) ids as the denoiser reads them; what is not attended to is masked."""
        tower = self.backbone.tower("text")
        tokens = tower.norm(tower.blocks(tower.start(ids), stop=self.reading.layers).h)
        return Condition(tokens, self._words(ids, tokens) if self.reading.length is None else None)

    def without_padding(self, condition: Condition, ids: Tensor) -> Condition:
        """Return the condition of (B, L) ids up to the end token of each text; what follows is masked."""
        longest = int(ids.argmax(1).max()) + 1
        mask = self._words(ids, condition.tokens)
        return Condition(condition.tokens[:, :longest], mask[:, :longest])

    @staticmethod
    def _words(ids: Tensor, tokens: Tensor) -> Tensor:
        return (torch.arange(ids.shape[1], device=ids.device) <= ids.argmax(1)[:, None]).to(tokens.device)

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Return the positions of the tokens of ``words`` among those of ``text``, all occurrences."""
        whole, part = self.ids([text])[0].tolist(), self.ids([words])[0].tolist()[1:-1]
        starts = [i for i in range(len(whole) - len(part) + 1) if part and whole[i : i + len(part)] == part]
        return tuple(i + k for i in starts for k in range(len(part)))


@dataclass(frozen=True)
class SmallDiffusion:
    """The denoiser of pixels in ``PatchDenoiser``, with the tokens of a backbone's text tower as conditions.

    A latent is the picture itself, in [-1, 1].

    Raises:
        MissingHook: the backbone has no text tower, or one of another width.
    """

    layout: DenoiserLayout
    weights: Mapping[str, Tensor]
    backbone: Backbone

    def __post_init__(self) -> None:
        width, wanted = self.words.width, self.layout.text
        if width != wanted:
            raise MissingHook(
                f"This denoiser reads text tokens of width {wanted}, and those of {self.backbone.spec.name} have "
                f"{width}: take the backbone it was trained with, tiny."
            )

    @property
    def words(self) -> TextTokens:
        """What reads texts."""
        return TextTokens(self.backbone)

    @cached_property
    def net(self) -> PatchDenoiser:
        """The network, in eval mode and without gradients of its own, on the device of the backbone."""
        with torch.random.fork_rng(devices=[]):  # the weights are replaced, and the global generator keeps its state
            net = PatchDenoiser(self.layout)
        net.load_state_dict(dict(self.weights))
        return net.eval().requires_grad_(False).to(next(self.backbone.module().parameters()).device)

    @property
    def size(self) -> int:
        """Side of the pictures."""
        return self.layout.size

    @property
    def latent(self) -> tuple[int, int, int]:
        """Size of a latent."""
        return 3, self.size, self.size

    @property
    def reading(self) -> TextReading:
        """The tokens of each text from its start to its end, after all blocks."""
        return WHOLE

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Share of signal in each step."""
        return alphas_cumprod()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights and of the text encoder."""
        digest = hashlib.sha256(f"{self.layout}/{self.backbone.text.fingerprint}".encode())
        for name, t in sorted(self.weights.items()):
            digest.update(name.encode() + t.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str], /) -> Condition:
        """Return the normed tokens of B texts, from the start to the end token."""
        return self.words.condition(self.words.ids(texts))

    def places(self, text: str, words: str, /) -> tuple[int, ...]:
        """Return the positions of the tokens of ``words`` in the condition of ``text``."""
        return self.words.places(text, words)

    def to_latent(self, pictures: Tensor, /) -> Tensor:
        """Return the pictures in [-1, 1]."""
        return pictures * 2 - 1

    def from_latent(self, z: Tensor, /) -> Tensor:
        """Return the pictures in [0, 1], clipped."""
        return ((z.float() + 1) / 2).clamp(0, 1)

    def eps(self, z: Tensor, t: Tensor, condition: Condition, hook: AttentionHook | None = None, /) -> Tensor:
        """Predict the noise from what the network says."""
        a = self.alphas_cumprod[t.cpu()].to(z)[:, None, None, None]
        return noise_in(self.net(z, t, condition.tokens, condition.mask, hook), z, a)
