"""Generators whose styles come from latents w+, and the encoders that find w+ through maps of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from diptych.core.edit import Inverter, StyleGenerator, Styles

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class LatentGenerator(StyleGenerator, Protocol):
    """A style generator in which each layer computes its style from a latent w of its own; all of them are w+.

    Attributes:
        latents: number of w in a w+.
        style_dim: width C of a w.
    """

    @property
    def latents(self) -> int:
        """Number of w in a w+."""

    @property
    def style_dim(self) -> int:
        """Width of a w."""

    def styles(self, w_plus: Tensor, /) -> Styles:
        """Return the styles of (B, latents, C) w+: ``s`` from w+, and ``rest`` for the layers that s does not feed."""


@runtime_checkable
class MapInverter(Inverter, Protocol):
    """An encoder from pictures to w+ in two parts, between which feature maps can be changed.

        w+ = mean + codes(maps(x))

    Attributes:
        widths: channels of each map, the finest map first.
        mean: (C,) mean of the generator's w.
    """

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each map, the finest first."""

    @property
    def mean(self) -> Tensor:
        """Mean of the generator's w, (C,)."""

    def maps(self, images: Tensor, /) -> tuple[Tensor, ...]:
        """Return maps (B, widths[i], h_i, w_i) of (B, 3, size, size) pictures in [0, 1]."""

    def codes(self, maps: tuple[Tensor, ...], /) -> Tensor:
        """Return (B, latents, C), w+ without the mean, of maps."""
