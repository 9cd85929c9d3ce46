"""Scenes in which colours go with shapes: each shape has a usual colour, and a share of the objects has it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from diptych.core import Column, Table, UsageError
from diptych.data.memory import InMemory
from diptych.data.scenes.compose import Scene, Scenes, scene
from diptych.data.scenes.paint import SceneObject
from diptych.data.scenes.tables import Pictures
from diptych.data.words.sentences import article

VERSION = 1
"""Part of the content keys: another number where the draw of colours changes."""


@dataclass(frozen=True)
class AssociatedScenes:
    """Scenes whose objects have the usual colour of their shape with a probability, else one of the others.

    Scenes of one number differ in nothing but colours.

    Args:
        scenes: the scenes with the colours that they were drawn with.
        usual: shape -> colour.
        share: of objects with the usual colour, in [0, 1].

    Raises:
        UsageError: the share is outside its range, or a shape of the scenes has no usual colour.

    Example:
        >>> from diptych.data.scenes.compose import SceneRecipe
        >>> from diptych.data.scenes.sprites import SpriteBank
        >>> recipe = SceneRecipe(SpriteBank(shapes=("circle", "star"), colours=("red", "blue", "green")))
        >>> usual = {"circle": "red", "star": "blue"}
        >>> made = AssociatedScenes(Scenes(recipe, 20), usual, 1.0)
        >>> all(o.colour == usual[o.noun] for i in range(20) for o in made[i].objects)
        True
    """

    scenes: Scenes
    usual: Mapping[str, str]
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"share must be in [0, 1], got {self.share}.")
        if lacking := [s for s in self.scenes.recipe.bank.shapes if s not in self.usual]:
            raise UsageError(f"The shape {lacking[0]!r} has no usual colour: give one for each shape.")

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, seed = self.scenes.start + index, self.scenes.seed
        rng = np.random.default_rng([seed, number, VERSION])
        colours = self.scenes.recipe.bank.colours

        def drawn(thing: SceneObject) -> SceneObject:
            usual = self.usual[thing.noun]
            others = [c for c in colours if c != usual] or [usual]
            chance, other = rng.random(), others[int(rng.integers(len(others)))]
            return replace(thing, colour=usual if chance < self.share else other)

        return scene(self.scenes.recipe, seed, number, lambda things: tuple(map(drawn, things)))

    def key(self, index: int) -> str:
        """Return the hash of the scene's key, the usual colours and their share."""
        text = f"{self.scenes.key(index)}/associated/{sorted(self.usual.items())}/{self.share:g}/{VERSION}"
        return hashlib.sha256(text.encode()).hexdigest()

    def name(self, index: int) -> str:
        """Return the name of the scene."""
        return self.scenes.name(index)


def captioned(scenes: AssociatedScenes) -> Table[Image.Image]:
    """Return scenes as a table whose captions name the objects, and every other one their colours too."""
    captions, painted = [], []  # painted once, for all epochs of a training
    for i in range(len(scenes)):
        shown = scenes[i]
        named = [article(o.noun if i % 2 else f"{o.colour} {o.noun}") for o in shown.objects]
        captions.append((" and ".join(named),))
        painted.append(shown.image)
    names, keys = ([of(i) for i in range(len(scenes))] for of in (scenes.name, scenes.key))
    return Table(InMemory(painted, names, keys), {"captions": Column("captions", tuple(captions))})


def labelled(scenes: AssociatedScenes) -> Table[Image.Image]:
    """Return scenes of one object as a table with its shape as label and its colour as group column "attribute"."""
    things = [scenes[i].objects[0] for i in range(len(scenes))]
    shapes = scenes.scenes.recipe.bank.shapes
    labels = np.array([shapes.index(o.noun) for o in things], dtype=np.int64)
    colours = tuple(str(o.colour) for o in things)
    return Table(Pictures(scenes), {"label": Column("label", labels), "attribute": Column("group", colours)})
