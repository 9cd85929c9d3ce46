"""Composition of scenes: objects are drawn at random and painted, and the ground truth is returned with the pixels.

A scene is fixed by (recipe, seed, number), so that a stream can start anywhere and be split over workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diptych.core import UsageError
from diptych.data.scenes.captions import long_caption, short_caption, translated_caption
from diptych.data.scenes.paint import BACKGROUNDS, Background, SceneObject, canvas_of, paint
from diptych.data.scenes.sprites import SpriteBank

Change = Callable[[tuple[SceneObject, ...]], tuple[SceneObject, ...]]
RELATIONS = ("to the left of", "to the right of", "above", "below")


@dataclass(frozen=True)
class Scene:
    """A composed picture with full ground truth.

    Args:
        image: (S, S, 3) uint8.
        masks: (n, S, S) bool, visible pixels of each object (later objects hide earlier ones).
        boxes: (n, 4) float32, x0 y0 x1 y1 in pixels round the visible pixels; zeros where nothing is visible.
        objects: the n objects, in painting order.
        relation: relation of the first object to the second ("above"), where there are exactly two different objects.
        captions: "short", "long", and language codes where names exist.
    """

    image: NDArray[np.uint8] = field(repr=False, compare=False)
    masks: NDArray[np.bool_] = field(repr=False, compare=False)
    boxes: NDArray[np.float32] = field(repr=False, compare=False)
    objects: tuple[SceneObject, ...]
    relation: str | None
    background: Background
    captions: dict[str, str]


@dataclass(frozen=True)
class SceneRecipe:
    """The distribution of scenes.

    Args:
        size: side of the pictures in pixels.
        objects: numbers of objects, equally likely.
        same: probability that all objects of a scene are alike ("three red circles").
        sides: range of the objects' side, as a share of the picture's side.
        turn: largest rotation in degrees.
        backgrounds: kinds of background, equally likely.
        held_out: (colour, shape) pairs that never occur; for tests on unseen combinations.
        only: the (colour, shape) pairs that occur; empty: all.
        languages: captions beside English.

    Raises:
        UsageError: no objects, or no combination left.
    """

    bank: SpriteBank = field(default_factory=SpriteBank)
    size: int = 64
    objects: tuple[int, ...] = (1,)
    same: float = 0.0
    sides: tuple[float, float] = (0.24, 0.46)
    turn: float = 12.0
    backgrounds: tuple[Background, ...] = BACKGROUNDS
    held_out: frozenset[tuple[str, str]] = frozenset()
    only: frozenset[tuple[str, str]] = frozenset()
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.objects or min(self.objects) < 1:
            raise UsageError("A scene needs at least one object: give objects=(1,) or more.")
        if not self.pairs() and not (self.bank.pictures and self.bank.picture_share == 1.0):
            raise UsageError("No colour and shape combination is left: hold out fewer.")

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return the (colour, shape) pairs that may occur."""
        return tuple(
            p for p in self.bank.combinations() if p not in self.held_out and (not self.only or p in self.only)
        )


def hold_out(bank: SpriteBank, share: float, seed: int) -> frozenset[tuple[str, str]]:
    """Choose a share of the combinations so that every colour and every shape still occurs in the rest."""
    pairs = bank.combinations()
    order = np.random.default_rng(seed).permutation(len(pairs))
    remaining: list[tuple[str, str]] = list(pairs)
    held_out: set[tuple[str, str]] = set()
    for i in order:
        pair = pairs[i]
        rest = [p for p in remaining if p != pair]
        if (
            len(held_out) < round(share * len(pairs))
            and any(c == pair[0] for c, _ in rest)
            and any(s == pair[1] for _, s in rest)
        ):
            held_out.add(pair)
            remaining = rest
    return frozenset(held_out)


def _place(n: int, sides: NDArray[np.float64], g: np.random.Generator) -> NDArray[np.float64]:
    """Draw n centres in [0, 1]^2 that overlap little: the best of 12 tries by the smallest gap."""
    best, best_gap = np.full((n, 2), 0.5), -np.inf
    for _ in range(12):
        low = sides[:, None] / 2
        centres = low + g.random((n, 2)) * np.maximum(1 - 2 * low, 1e-6)
        if n == 1:
            return centres
        apart = np.abs(centres[:, None] - centres[None]).max(-1) - (sides[:, None] + sides[None]) / 2
        gap = float(apart[~np.eye(n, dtype=bool)].min())
        if gap > best_gap:
            best, best_gap = centres, gap
        if gap >= 0.02:
            break
    return best


def relation_of(first: SceneObject, second: SceneObject) -> str:
    """Return the position of the first object relative to the second, by the larger of the two distances."""
    dx, dy = first.centre[0] - second.centre[0], first.centre[1] - second.centre[1]
    if abs(dx) >= abs(dy):
        return RELATIONS[0] if dx < 0 else RELATIONS[1]
    return RELATIONS[2] if dy < 0 else RELATIONS[3]


def draw_objects(recipe: SceneRecipe, g: np.random.Generator) -> tuple[SceneObject, ...]:
    """Draw the objects of one scene: kinds, sizes, positions."""
    n = int(g.choice(recipe.objects))
    alike = n > 1 and g.random() < recipe.same
    pairs, bank = recipe.pairs(), recipe.bank
    limit = 1.0 / np.sqrt(n) if n > 2 else 1.0  # smaller objects in crowded scenes
    sides = g.uniform(*recipe.sides, n) * limit
    centres = _place(n, sides, g)
    things: list[SceneObject] = []
    for i in range(n):
        if alike and things:
            things.append(replace(things[0], centre=(float(centres[i, 0]), float(centres[i, 1])), side=float(sides[i])))
            continue
        turn = float(g.uniform(-recipe.turn, recipe.turn))
        position = {"centre": (float(centres[i, 0]), float(centres[i, 1])), "side": float(sides[i])}
        if bank.pictures and (not pairs or g.random() < bank.picture_share):
            number = int(g.integers(len(bank.pictures)))
            things.append(SceneObject(bank.pictures[number].name, None, None, picture=number, **position))  # type: ignore[arg-type]
        else:
            colour, shape = pairs[int(g.integers(len(pairs)))]
            things.append(SceneObject(shape, colour, str(g.choice(bank.textures)), turn=turn, **position))  # type: ignore[arg-type]
    return tuple(things)


def render(
    recipe: SceneRecipe,
    things: tuple[SceneObject, ...],
    background: Background,
    g: np.random.Generator,
    backdrop: NDArray[np.uint8] | None = None,
) -> Scene:
    """Paint objects on a kind of background, or on the (S, S, 3) pixels of a photo, and write the captions."""
    canvas = canvas_of(background, recipe.size, g) if backdrop is None else backdrop.astype(np.float32)
    masks = np.zeros((len(things), recipe.size, recipe.size), bool)
    for i, item in enumerate(things):
        masks[i] = paint(canvas, item, recipe.bank.pictures, float(g.uniform(0.85, 1.1)))
        masks[:i] &= ~masks[i]
    boxes = np.zeros((len(things), 4), np.float32)
    for i, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            boxes[i] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    kinds = [(item.noun, item.colour, item.texture) for item in things]
    relation = relation_of(things[0], things[1]) if len(things) == 2 and kinds[0] != kinds[1] else None
    captions = {"short": short_caption(things, relation), "long": long_caption(things, relation, background)}
    for language in recipe.languages:
        names = [recipe.bank.pictures[t.picture].names if t.picture is not None else {} for t in things]
        if text := translated_caption(things, names, language):
            captions[language] = text
    return Scene(np.clip(canvas, 0, 255).astype(np.uint8), masks, boxes, things, relation, background, captions)


def generator_of(seed: int, number: int) -> np.random.Generator:
    """Return the generator of one item of the stream of a seed."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))


def scene(recipe: SceneRecipe, seed: int, number: int, change: Change | None = None) -> Scene:
    """Return scene ``number`` of the endless stream of (recipe, seed).

    Args:
        recipe: distribution of the scenes.
        seed: any non-negative integer.
        number: number of the scene in the stream.
        change: from the objects of the scene to others, painted on the same background.
    """
    g = generator_of(seed, number)
    things = draw_objects(recipe, g)
    background = recipe.backgrounds[int(g.integers(len(recipe.backgrounds)))]
    return render(recipe, things if change is None else change(things), background, g)


def clip(recipe: SceneRecipe, seed: int, number: int, frames: int = 8) -> tuple[list[Scene], str]:
    """Return a short clip of one moving object and its caption ("a red star moves left", "... grows").

    Args:
        recipe: distribution of the scene; its numbers of objects are not used.
        seed: any non-negative integer.
        number: number of the clip in the stream.
        frames: number of frames.
    """
    g = generator_of(seed ^ 0xC11F, number)
    item = draw_objects(replace(recipe, objects=(1,)), g)[0]
    kinds = {
        "moves left": (-1, 0, 0), "moves right": (1, 0, 0), "moves up": (0, -1, 0), "moves down": (0, 1, 0),
        "grows": (0, 0, 1), "shrinks": (0, 0, -1),
    }  # fmt: skip
    verb = list(kinds)[int(g.integers(len(kinds)))]
    dx, dy, grow = kinds[verb]
    background = recipe.backgrounds[int(g.integers(len(recipe.backgrounds)))]
    state = g.bit_generator.state
    scenes = []
    for t in np.linspace(-0.5, 0.5, frames):
        g.bit_generator.state = state  # the same background and shade in every frame
        x = 0.5 + 0.6 * dx * t if dx else item.centre[0]
        y = 0.5 + 0.6 * dy * t if dy else item.centre[1]
        scenes.append(
            render(
                recipe, (replace(item, centre=(float(x), float(y)), side=float(item.side * (1 + grow * t))),),
                background, g,
            )
        )  # fmt: skip
    return scenes, f"{scenes[0].captions['short']} {verb}"


@dataclass(frozen=True)
class Scenes:
    """The first ``count`` scenes of a stream as samples; the key names recipe, seed and number.

    Args:
        recipe: distribution of the scenes.
        seed: any non-negative integer.
    """

    recipe: SceneRecipe
    count: int
    seed: int = 0
    start: int = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return scene(self.recipe, self.seed, self.start + index)

    @cached_property
    def _description(self) -> str:
        """A text of the recipe that is equal in every process, with sorted sets and hashes of pictures."""
        plain = repr(replace(self.recipe, held_out=frozenset(), only=frozenset()))
        pixels = [
            hashlib.sha256(f"{p.rgba.shape}".encode() + p.rgba.tobytes()).hexdigest() for p in self.recipe.bank.pictures
        ]
        rest = (sorted(self.recipe.held_out), sorted(self.recipe.only), pixels)
        return f"{plain}{rest}" if any(rest) else plain

    def key(self, index: int) -> str:
        """Return the SHA-256 of (recipe, seed, number), which fix the scene."""
        return hashlib.sha256(f"{self._description}/{self.seed}/{self.start + index}".encode()).hexdigest()

    def name(self, index: int) -> str:
        """Return "scene 12 of seed 3"."""
        return f"scene {self.start + index} of seed {self.seed}"
