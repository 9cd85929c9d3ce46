"""Clips of one real cut-out that moves over a real photo, as samples with known object and motion."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import DataError, UsageError
from diptych.data.scenes.compose import SceneRecipe, render
from diptych.data.scenes.paint import SceneObject
from diptych.data.scenes.sprites import Picture, SpriteBank

MOTIONS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "right": (1, 0, 0),
        "left": (-1, 0, 0),
        "down": (0, 1, 0),
        "up": (0, -1, 0),
        "grows": (0, 0, 1),
        "shrinks": (0, 0, -1),
    }
)
"""Name -> direction in x and y, and growth."""
BACKWARDS: Mapping[str, str] = MappingProxyType(
    {"right": "left", "left": "right", "down": "up", "up": "down", "grows": "shrinks", "shrinks": "grows"}
)
"""Motion -> its motion when the clip is reversed."""


@dataclass(frozen=True)
class Moving:
    """One clip to compose.

    Args:
        motion: a key of ``MOTIONS``.
        side: side of the object's square, as a share of the frame's.
        lane: position of its path across the motion, in [0, 1].
    """

    sprite: int
    backdrop: int
    motion: str
    side: float
    lane: float
    backwards: bool = False


@dataclass(frozen=True)
class MovingClips:
    """Composed clips: an item is a tuple of ``frames`` pictures.

    The object crosses 0.8 of the frame, or changes its side by a factor of 2.

    Args:
        sprites: cut-outs, squares.
        backdrops: (S, S, 3) uint8 photos.
        plan: N clips.
        frames: T, at least 2.

    Raises:
        UsageError: fewer than 2 frames.
    """

    sprites: Sequence[Picture] = field(repr=False)
    backdrops: Sequence[NDArray[np.uint8]] = field(repr=False)
    plan: tuple[Moving, ...]
    frames: int = 8

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise UsageError(f"frames must be at least 2, got {self.frames}: one frame does not move.")

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int, /) -> tuple[Image.Image, ...]:
        p = self.plan[index]
        backdrop, picture = self.backdrops[p.backdrop], self.sprites[p.sprite]
        recipe = SceneRecipe(SpriteBank(pictures=(picture,), picture_share=1.0), size=backdrop.shape[0])
        dx, dy, growth = MOTIONS[p.motion]
        start = (0.5 if dx or growth else p.lane, 0.5 if dy else p.lane)
        thing = SceneObject(picture.name, None, None, start, p.side, picture=0)
        pictures = []
        for t in np.linspace(-0.4, 0.4, self.frames):
            centre = (start[0] + dx * float(t), start[1] + dy * float(t))
            moved = replace(thing, centre=centre, side=p.side * 2 ** (growth * float(t) / 0.8))
            pictures.append(
                Image.fromarray(render(recipe, (moved,), "light", np.random.default_rng(0), backdrop).image)
            )
        return tuple(reversed(pictures)) if p.backwards else tuple(pictures)

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the plan, the cut-out and the photo, which fix the frames."""
        p = self.plan[index]
        digest = hashlib.sha256(f"{replace(p, sprite=0, backdrop=0)!r}/{self.frames}".encode())
        for part in (self.sprites[p.sprite].rgba, self.backdrops[p.backdrop]):
            digest.update(f"{part.shape}".encode() + part.tobytes())
        return digest.hexdigest()

    def name(self, index: int, /) -> str:
        """Return the number, object and motion of the clip."""
        p = self.plan[index]
        return f"clip {index}: {self.sprites[p.sprite].name} {p.motion}{' (backwards)' if p.backwards else ''}"


def drawn_plan(
    sprites: Sequence[int], backdrops: Sequence[int], each: int, rng: np.random.Generator
) -> tuple[Moving, ...]:
    """Return ``each`` clips of every cut-out, with photo, motion, size and lane drawn uniformly."""
    motions = tuple(MOTIONS)
    return tuple(
        Moving(
            int(sprite),
            int(rng.choice(np.asarray(backdrops))),
            motions[int(rng.integers(len(motions)))],
            float(rng.uniform(0.35, 0.6)),
            float(rng.uniform(0.35, 0.65)),
        )
        for sprite in sprites
        for _ in range(each)
    )


def white_cut_out(image: Image.Image, name: str) -> Picture:
    """Cut a picture sprite from a photo on a white background, padded to a square with transparent pixels.

    The background is the white pixels, of three channels of at least 243, that are connected to the border.

    Args:
        image: photo on a white background.
        name: name of the object.

    Raises:
        DataError: the whole photo is white.
    """
    from scipy.ndimage import label

    pixels = np.asarray(image.convert("RGB"))
    patches, _ = label(np.pad((pixels >= 243).all(2), 1, constant_values=True))
    solid = (patches != patches[0, 0])[1:-1, 1:-1]
    picture = cut_out(image, Image.fromarray((solid * 255).astype(np.uint8)), name)
    height, width = picture.rgba.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 4), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture.rgba
    return Picture(name, square)


def cut_out(image: Image.Image, mask: Image.Image, name: str) -> Picture:
    """Cut a picture sprite from a photo by a mask of the same size (non-zero is the object), cropped to the mask's box.

    Raises:
        DataError: sizes differ, or the mask is empty.
    """
    if image.size != mask.size:
        raise DataError(f"Mask of {name!r} is {mask.size} but the image is {image.size}: they must have one size.")
    alpha = (np.asarray(mask.convert("L")) > 0).astype(np.uint8) * 255
    if not alpha.any():
        raise DataError(f"Mask of {name!r} is empty: nothing to cut out.")
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Picture(name, np.dstack([np.asarray(image.convert("RGB"))[window], alpha[window]]))
