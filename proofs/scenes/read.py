"""Reads what objects per picture of a scene shows, by comparison with every object that could stand there.

    picture_c = plane_c + k_c m + rest_c                      of each colour channel c

plane_c: a background that is even, or changes evenly from one side to the other
m: (S, S) mask of a shape, of one side and turn, at one place;  k_c: a number
rest_c: what is not explained

The mask that leaves least of the picture unexplained is what is seen; its colour is the one whose pixels lie nearest
to those under the mask. It judges pictures of generators, whose objects are known by their words alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.data.scenes.sprites import COLOURS, SpriteBank, shape_mask

SHADES = (0.85, 0.95, 1.05)
"""Factors of a colour as ``compose.render`` draws them."""
ROUND = ("circle", "ring")
"""Shapes that turning does not change."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """One object that was read.

    Args:
        shape, colour: names of the bank.
        texture: "plain" or "striped": a quarter of the pixels or more have the second, lighter colour.
        centre: (x, y) in [0, 1].
        side: of its square, as a share of the picture's side.
        explained: share of the picture's variance beyond the background that its mask explains, in [0, 1].
        mask: (S, S) bool.
        number: of the mask in ``SceneReader.placed``.
    """

    shape: str
    colour: str
    texture: str
    centre: tuple[float, float]
    side: float
    explained: float
    mask: NDArray[np.bool_]
    number: int


@dataclass(frozen=True)
class SceneReader:
    """Compares pictures with all masks of a bank's shapes.

    Args:
        size: S, side of the pictures.
        sides: least and largest side of an object, as a share of S.
        turns: degrees at which shapes are tried.
        step: pixels between two sides that are tried.

    Example:
        >>> from diptych.data.scenes.compose import SceneRecipe, scene
        >>> bank = SpriteBank(shapes=("circle", "star"), colours=("red", "blue"))
        >>> shown = scene(SceneRecipe(bank, size=32, sides=(0.4, 0.6), backgrounds=("light",)), seed=0, number=1)
        >>> shown.captions["short"], SceneReader(bank, 32, (0.4, 0.6)).read(shown.image)[0].shape
        ('a blue star', 'star')
    """

    bank: SpriteBank
    size: int
    sides: tuple[float, float] = (0.4, 0.65)
    turns: tuple[float, ...] = (-10.0, 0.0, 10.0)
    step: int = 2

    def templates(self) -> Iterator[tuple[str, int, Floats]]:
        """Yield shape, side in pixels, and the (side, side) alpha of each mask before it is placed."""
        low, high = (round(s * self.size) for s in self.sides)
        for shape in self.bank.shapes:
            for side in range(low, high + 1, self.step):
                tile = Image.fromarray(shape_mask(shape)).resize(
                    (side, side), Image.Resampling.BILINEAR, reducing_gap=2.0
                )
                for turn in (0.0,) if shape in ROUND else self.turns:
                    turned = tile.rotate(turn, Image.Resampling.BILINEAR)
                    yield shape, side, np.asarray(turned, np.float32) / np.float32(255)

    @cached_property
    def placed(self) -> tuple[list[tuple[str, int, int, int]], Floats]:
        """Return (shape, side, left, top) of M masks, and the (M, S S) masks."""
        facts: list[tuple[str, int, int, int]] = []
        masks: list[Floats] = []
        for shape, side, alpha in self.templates():
            for top in range(self.size - side + 1):
                for left in range(self.size - side + 1):
                    whole = np.zeros((self.size, self.size), np.float32)
                    whole[top : top + side, left : left + side] = alpha
                    facts.append((shape, side, left, top))
                    masks.append(whole.ravel())
        return facts, np.stack(masks)

    @cached_property
    def lengths(self) -> tuple[Floats, Floats]:
        """Return the (S S, 3) orthonormal basis of even backgrounds, and (M,) masks' squared lengths outside it."""
        y, x = np.mgrid[0 : self.size, 0 : self.size].astype(np.float32).reshape(2, -1)
        basis = np.linalg.qr(np.stack([np.ones_like(x), x, y], axis=1))[0].astype(np.float32)
        return basis, _beyond(self.placed[1], basis)

    def read(self, image: NDArray[np.uint8], count: int = 1) -> tuple[Seen, ...]:
        """Return the ``count`` objects that explain most of a (S, S, 3) picture, the clearest first."""
        return self.read_all(image[None], count)[0]

    def read_all(self, images: NDArray[np.uint8], count: int = 1) -> list[tuple[Seen, ...]]:
        """Return what ``read`` does of each of (N, S, S, 3) pictures."""
        basis, lengths = self.lengths
        pixels = images.reshape(len(images), -1, 3).astype(np.float32)
        objects = []
        for first in range(0, len(images), 32):  # one product for many pictures, in bounded memory
            some = pixels[first : first + 32]
            rests = some - np.einsum("pk,nkc->npc", basis, np.einsum("pk,npc->nkc", basis, some))
            products = self.placed[1] @ rests.transpose(1, 0, 2).reshape(len(basis), -1)
            scores = (products.reshape(len(lengths), len(some), 3) ** 2).sum(2) / lengths[:, None]
            for one, rest, score in zip(some, rests, scores.T, strict=True):
                seen, known = [self._seen(one, rest, score)], basis
                for _ in range(count - 1):
                    known = self._with(known, seen[-1])
                    rest = one - known @ (known.T @ one)
                    score = ((self.placed[1] @ rest) ** 2).sum(1) / _beyond(self.placed[1], known)
                    seen.append(self._seen(one, rest, score))
                objects.append(tuple(seen))
        return objects

    def _with(self, basis: Floats, seen: Seen) -> Floats:
        pattern = self.placed[1][seen.number]
        pattern = pattern - basis @ (basis.T @ pattern)
        return np.concatenate([basis, (pattern / np.linalg.norm(pattern))[:, None]], axis=1)

    def _seen(self, pixels: Floats, rest: Floats, scores: Floats) -> Seen:
        best = int(scores.argmax())
        shape, side, left, top = self.placed[0][best]
        mask = self.placed[1][best]
        colour, striped = _colour(pixels[mask > 0.8], self.bank.colours)
        return Seen(
            shape,
            colour,
            "striped" if striped >= 0.25 else "plain",
            ((left + side / 2) / self.size, (top + side / 2) / self.size),
            side / self.size,
            float(scores[best] / max(float((rest**2).sum()), 1e-6)),
            (mask > 0.5).reshape(self.size, self.size),
            best,
        )


def _beyond(masks: Floats, basis: Floats) -> Floats:
    """Return what of each mask's squared length lies outside a basis, at least 0.001."""
    beyond: Floats = np.maximum((masks**2).sum(1) - ((masks @ basis) ** 2).sum(1), 1e-3)
    return beyond


def _colour(pixels: Floats, names: Sequence[str]) -> tuple[str, float]:
    """Return the colour nearest to (n, 3) pixels, and the share of them that have its second, lighter one."""
    best: tuple[float, str, float] | None = None
    for name in names:
        base = np.stack([np.asarray(COLOURS[name], np.float32) * shade for shade in SHADES])
        plain, light = (
            np.sqrt(((pixels[:, None] - np.minimum(c, 255)) ** 2).sum(2)).min(1)
            for c in (base, 0.35 * base + 0.65 * 255)
        )
        cost = float(np.minimum(plain, light).mean())
        if best is None or cost < best[0]:
            best = cost, name, float((light < plain).mean())
    assert best is not None
    return best[1], best[2]
