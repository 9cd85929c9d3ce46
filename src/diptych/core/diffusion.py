"""Text-to-image diffusion: a denoiser with its conditions, and access to its attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """What a denoiser attends to: tokens of B texts, or of anything else with their width.

    Args:
        tokens: (B, L, C).
        mask: (B, L) bool, True for tokens that are attended to; None: all.
        pooled: (B, P), one vector of each text, for denoisers that read one beside the tokens; None: that of no text.
    """

    tokens: Tensor
    mask: Tensor | None = None
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class TextReading:
    """How a denoiser reads the tokens of one text tower.

    Args:
        length: tokens of every text, filled with ``pad``, all of which are attended to; None: each text ends with its
            end token, and a mask leaves out what follows.
        pad: id of the filling.
        layers: blocks of the tower that run before its final norm; None: all.
    """

    length: int | None = None
    pad: int = 0
    layers: int | None = None


@dataclass(frozen=True)
class Site:
    """One attention layer of a denoiser.

    Args:
        kind: "self" (queries and keys are cells of the picture) or "cross" (keys are tokens of the condition).
        place: "down", "mid" or "up" of a U-Net; "mid" in a network of one resolution.
        number: position among the layers of its kind, in the order in which they run, from 0.
    """

    kind: Literal["self", "cross"]
    place: Literal["down", "mid", "up"]
    number: int


AttentionHook = Callable[[Site, "Tensor"], "Tensor | None"]
"""From a layer and its (B, heads, Q, K) attention probabilities to those that are used instead; None keeps them.

The Q queries are cells of the picture, row by row, over a square grid.
"""


@dataclass(frozen=True)
class Widened:
    """A hook under which the self-attention of each picture reads other tokens than its own.

    Args:
        tokens: (B, Q, C) inputs of a layer -> (B, K, C), of which its keys and values are made.
        hook: sees, and may replace, the (B, heads, Q, K) probabilities; None: nothing is replaced.
    """

    tokens: Callable[[Tensor], Tensor]
    hook: AttentionHook | None = None

    def __call__(self, site: Site, probabilities: Tensor) -> Tensor | None:
        """Ask the hook."""
        return None if self.hook is None else self.hook(site, probabilities)

    @classmethod
    def read(cls, hook: AttentionHook | None, site: Site, seen: Tensor) -> Tensor:
        """Return the tokens of which a layer makes keys and values under a hook."""
        return hook.tokens(seen) if isinstance(hook, cls) and site.kind == "self" else seen


@runtime_checkable
class TextDiffusion(Protocol):
    """A denoiser that is conditioned on texts, with fixed weights.

        z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) eps

    z_0: latent of a picture;  z_t: the same with noise, at step t
    a_t: ``alphas_cumprod`` at t, which falls with t
    eps: normal noise, which the denoiser predicts

    All sizes hold for square pictures of ``size``. ``nn.diffusion`` has sampling, inversion, guidance and control of
    attention.

    Attributes:
        size: side of the pictures, in pixels.
        latent: (C, h, w) of a latent.
        alphas_cumprod: (T,) float64 on the CPU, one for each step of the training.
        reading: how it reads the tokens of a text tower; None: it reads those of several text encoders.
        fingerprint: hexadecimal hash, equal if and only if the predictions are.
    """

    @property
    def size(self) -> int:
        """Side of the pictures."""

    @property
    def latent(self) -> tuple[int, int, int]:
        """Size (C, h, w) of a latent."""

    @property
    def alphas_cumprod(self) -> Tensor:
        """Share of signal in each of T steps, (T,)."""

    @property
    def reading(self) -> TextReading | None:
        """How it reads one text tower; None: it reads several text encoders."""

    @property
    def fingerprint(self) -> str:
        """Hash that is equal if and only if the predictions are."""

    def encode_text(self, texts: Sequence[str], /) -> Condition:
        """Return the condition of B texts; "" is the one without a text, for guidance."""

    def places(self, text: str, words: str, /) -> tuple[int, ...]:
        """Return the positions of the tokens of ``words`` in the condition of ``text``, all occurrences.

        () where the words do not occur.
        """

    def to_latent(self, pictures: Tensor, /) -> Tensor:
        """Return (B, C, h, w) latents of (B, 3, size, size) pictures in [0, 1]."""

    def from_latent(self, z: Tensor, /) -> Tensor:
        """Return (B, 3, size, size) float32 pictures in [0, 1] of (B, C, h, w) latents."""

    def eps(self, z: Tensor, t: Tensor, condition: Condition, hook: AttentionHook | None = None, /) -> Tensor:
        """Predict the noise. The gradient mode stays as it is.

        Args:
            z: (B, C, h, w) noisy latents.
            t: (B,) int64 steps.
            condition: of B texts.
            hook: sees, and may replace, every layer's attention.

        Returns:
            (B, C, h, w).

        Raises:
            MissingHook: a hook is given, and its attention cannot be shown.
        """
