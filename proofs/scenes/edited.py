"""Edits of scenes: one thing about the objects changes, and background, places and shades stay."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from diptych.core import UsageError
from diptych.data.scenes.captions import phrase
from diptych.data.scenes.compose import Scene, Scenes, scene
from diptych.data.scenes.paint import SceneObject
from diptych.data.scenes.sprites import COLOURS
from diptych.data.words.sentences import article

VERSION = 1
"""Part of the content keys: another number where an edit changes."""
Objects = tuple[SceneObject, ...]


def _recoloured(things: Objects, rng: np.random.Generator) -> Objects:
    others = [c for c in COLOURS if c not in {t.colour for t in things}]
    return (replace(things[0], colour=others[int(rng.integers(len(others)))]), *things[1:])


def _added(things: Objects, rng: np.random.Generator) -> Objects:
    copy = things[-1]
    far = max(
        rng.uniform(copy.side / 2, 1 - copy.side / 2, (12, 2)),
        key=lambda p: min(max(abs(p[0] - t.centre[0]), abs(p[1] - t.centre[1])) - t.side for t in things),
    )
    return (*things, replace(copy, centre=(float(far[0]), float(far[1]))))


def _removed(things: Objects, rng: np.random.Generator) -> Objects:
    return things[:-1]


def _exchanged(things: Objects, rng: np.random.Generator) -> Objects:
    first, second, *rest = things
    return (replace(first, centre=second.centre), replace(second, centre=first.centre), *rest)


def _turned(things: Objects, rng: np.random.Generator) -> Objects:
    return (replace(things[0], turn=things[0].turn + 180.0), *things[1:])


EDITS: Mapping[str, Callable[[Objects, np.random.Generator], Objects]] = MappingProxyType(
    {"color": _recoloured, "quantity": _added, "presence": _removed, "position": _exchanged, "orientation": _turned}
)
"""Edit -> function of the objects and a generator.

- color: the first object gets a colour that no object has.
- quantity: the last object comes once more, far from the others.
- presence: the last object is gone. Scenes need two objects.
- position: the first two objects change places. Scenes need two objects.
- orientation: the first object is upside down.
"""


@dataclass(frozen=True)
class EditedScenes:
    """Scenes after an edit; those of one number are the same scene before and after.

    Args:
        scenes: the scenes before it, of shapes with colours.
        edit: one of ``EDITS``.

    Raises:
        UsageError: there is no such edit, or scenes have too few objects for it.

    Example:
        >>> from diptych.data.scenes.compose import SceneRecipe
        >>> scenes = Scenes(SceneRecipe(objects=(2,)), count=3)
        >>> after = EditedScenes(scenes, "color")[0]
        >>> [o.colour == n.colour for o, n in zip(scenes[0].objects, after.objects)]
        [False, True]
    """

    scenes: Scenes
    edit: str

    def __post_init__(self) -> None:
        if self.edit not in EDITS:
            raise UsageError(f"There is no edit {self.edit!r}: choose from {', '.join(EDITS)}.")
        if self.edit in ("presence", "position") and min(self.scenes.recipe.objects) < 2:
            raise UsageError(f"The edit {self.edit!r} needs scenes of two objects at least: give such a recipe.")

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, seed = self.scenes.start + index, self.scenes.seed
        rng = np.random.default_rng([seed, number, list(EDITS).index(self.edit)])
        return scene(self.scenes.recipe, seed, number, lambda things: EDITS[self.edit](things, rng))

    def key(self, index: int) -> str:
        """Return the hash of the scene's key and the edit."""
        return hashlib.sha256(f"{self.scenes.key(index)}/{self.edit}/{VERSION}".encode()).hexdigest()

    def name(self, index: int) -> str:
        """Return the name of the scene with the edit."""
        return f"{self.scenes.name(index)} ({self.edit})"


def scene_attributes(shown: Scene) -> tuple[str, ...]:
    """Return phrases that are true of a scene: each object, and its colour and noun apart, without repeats."""
    return tuple(dict.fromkeys(t for o in shown.objects for t in (article(phrase(o)), f"{o.colour}", o.noun)))
