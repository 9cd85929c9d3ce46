"""A generator with known factors: position, size, shape and colour of one object, and colour of the background.

d(u) = sum_k softmax(shape / TEMPERATURE)_k sdf_k(u)                 signed distance of the mixture of shapes, u in the
                                                                     thing's own square
a(p) = sigmoid(side size d((p - centre) / side + 1/2))               how much of pixel p it covers: edges of about a
                                                                     pixel
x(p) = a(p) sum_k softmax(colour / TEMPERATURE)_k rgb_k + (1 - a(p)) background
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from diptych.core import Styles
from diptych.core.ranges import at_least, check, one_of, wrong
from diptych.data.scenes.sprites import COLOURS, SHAPES, shape_mask
from diptych.data.words.sentences import article

TEMPERATURE = 0.1
"""Temperature of the mixtures, at which one colour and one shape nearly always dominate."""
PLACE = ("across", "down", "size")
GROUND = ("lightness", "warmth", "greenness")
_TINTS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (-0.5, 1.0, -0.5))
_DEPTHS = (0.38, 0.1, 0.1)
_MARGIN, _FIELD = 0.5, 96  # the distance fields reach half a side beyond the thing's square


@cache
def _distances(shapes: tuple[str, ...]) -> Tensor:
    """Return (K, _FIELD, _FIELD) signed distances in sides of the thing's square, positive inside."""
    from scipy.ndimage import distance_transform_edt

    fields = []
    for shape in shapes:
        inside = np.asarray(shape_mask(shape)) > 127
        side = len(inside)
        wide = np.pad(inside, round(_MARGIN * side))
        distance = (distance_transform_edt(wide) - distance_transform_edt(~wide)) / side
        fields.append(torch.from_numpy(distance.astype(np.float32)))
    whole = torch.stack(fields)[None]
    return torch.nn.functional.interpolate(whole, size=(_FIELD, _FIELD), mode="area")[0]


@dataclass(frozen=True)
class FactorGenerator:
    """Draws one object on a plain background. Sampled styles are standard normal.

    Args:
        size: side of the pictures in pixels.
        colours: names of its colours, each a channel.
        shapes: names of its shapes, each a channel.
        rotation: None: a channel is a factor. A seed: channels are a random rotation of the factors.

    Raises:
        UsageError: fewer than 8 pixels, no colours or no shapes, or an unknown colour.
    """

    size: int = 64
    colours: tuple[str, ...] = tuple(COLOURS)
    shapes: tuple[str, ...] = SHAPES
    rotation: int | None = None

    def __post_init__(self) -> None:
        check(self, at_least(8), "size")
        check(self, one_of(*COLOURS), "colours")
        if not self.shapes:
            raise wrong(self, "shapes", "at least one shape")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of place, shape, colour and ground."""
        return len(PLACE), len(self.shapes), len(self.colours), len(GROUND)

    @property
    def fingerprint(self) -> str:
        """Hash of what it draws."""
        return hashlib.sha256(f"factors 1/{self!r}".encode()).hexdigest()[:16]

    def sample(self, n: int, g: torch.Generator, /) -> Styles:
        """Draw n styles, standard normal."""
        return Styles(torch.randn(n, sum(self.channels), generator=g), torch.zeros(n, 0))

    def factors(self, styles: Styles) -> Mapping[str, Tensor]:
        """Return "place" (B, 3), "shape" (B, shapes), "colour" (B, colours) and "ground" (B, 3) of styles."""
        f = styles.s if self.rotation is None else styles.s @ self._turn().T.to(styles.s)
        return dict(
            zip(("place", "shape", "colour", "ground"), torch.split(f, list(self.channels), dim=1), strict=True)
        )

    def styles(self, factors: Mapping[str, Tensor]) -> Styles:
        """Return the styles of factors, as ``factors`` names them."""
        f = torch.cat([factors[name] for name in ("place", "shape", "colour", "ground")], dim=1)
        return Styles(f if self.rotation is None else f @ self._turn().to(f), f.new_zeros(len(f), 0))

    def captions(self, styles: Styles) -> list[str]:
        """Return "a red circle" of each picture: its strongest colour and shape."""
        f = self.factors(styles)
        pairs = zip(f["colour"].argmax(1).tolist(), f["shape"].argmax(1).tolist(), strict=True)
        return [article(f"{self.colours[c]} {self.shapes[s]}") for c, s in pairs]

    def synthesise(self, styles: Styles, /) -> Tensor:
        """Return (B, 3, size, size) pictures in [0, 1]."""
        f = self.factors(styles)
        squashed = torch.tanh(f["place"])
        centre, side = 0.5 + 0.2 * squashed[:, :2], 0.42 + 0.12 * squashed[:, 2]
        ticks = (torch.arange(self.size, device=side.device, dtype=side.dtype) + 0.5) / self.size
        pixels = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1)
        coordinates = (pixels - centre[:, None, None]) / side[:, None, None, None]  # [-1/2, 1/2] in the thing's square
        fields = _distances(self.shapes).to(coordinates).expand(len(coordinates), -1, -1, -1)
        sampled = grid_sample(
            fields, coordinates * (2 / (1 + 2 * _MARGIN)), mode="bilinear", padding_mode="border", align_corners=False
        )
        distance = torch.einsum("bk,bkhw->bhw", torch.softmax(f["shape"] / TEMPERATURE, dim=1), sampled)
        cover = torch.sigmoid(4 * self.size * side[:, None, None] * distance)[:, None]
        palette = torch.tensor([COLOURS[c] for c in self.colours]).to(side) / 255
        colour = torch.softmax(f["colour"] / TEMPERATURE, dim=1) @ palette
        depth = torch.tensor(_DEPTHS).to(side) * torch.tanh(f["ground"])
        background = (0.5 + depth @ torch.tensor(_TINTS).to(side)).clamp(0, 1)
        return cover * colour[:, :, None, None] + (1 - cover) * background[:, :, None, None]

    def _turn(self) -> Tensor:
        """Return the (S, S) rotation: orthogonal, fixed by its seed."""
        g = torch.Generator().manual_seed(self.rotation or 0)
        square = torch.randn(sum(self.channels), sum(self.channels), generator=g, dtype=torch.float64)
        turn: Tensor = torch.linalg.qr(square)[0]
        return turn.float()
