"""Scenes as a data set of pictures with captions, and with the truth that only a painter knows: boxes and phrases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from diptych.core import Column, Samples, Table
from diptych.data.formats.regions import boxes as boxed
from diptych.data.labelled import LabelledData
from diptych.data.scenes.captions import phrase
from diptych.data.scenes.compose import Scene, SceneRecipe, Scenes
from diptych.data.words.sentences import article

Caption = Callable[[Scene], tuple[str, ...]]


def short(scene: Scene) -> tuple[str, ...]:
    """Return the one short caption of a scene."""
    return (scene.captions["short"],)


@dataclass(frozen=True)
class Pictures:
    """The pictures of scenes.

    Args:
        scenes: the scenes, as ``Scenes`` or after an edit.
    """

    scenes: Samples[Scene]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int, /) -> Image.Image:
        return Image.fromarray(self.scenes[index].image)

    def key(self, index: int, /) -> str:
        """Return the key of the scene."""
        return self.scenes.key(index)

    def name(self, index: int, /) -> str:
        """Return the name of the scene."""
        return self.scenes.name(index)


def scene_table(scenes: Scenes, caption: Caption = short) -> Table[Image.Image]:
    """Return scenes as a table.

    Its columns are "captions", "boxes" with the ``Boxes`` of the n objects that can be seen, whose classes are
    positions among the recipe's shapes (-1 for pictures), and "phrases" with the n phrases that name them, such as
    "a red circle".

    Example:
        >>> table = scene_table(Scenes(SceneRecipe(objects=(2,)), count=2))
        >>> table.items[0].size, len(table.columns["boxes"].values[0].corners), len(table.columns["phrases"].values[0])
        ((64, 64), 2, 2)
    """
    captions, boxes, phrases = [], [], []
    for i in range(len(scenes)):
        scene = scenes[i]
        seen = [bool(mask.any()) for mask in scene.masks]
        captions.append(caption(scene))
        things = [o for o, there in zip(scene.objects, seen, strict=True) if there]
        shapes = scenes.recipe.bank.shapes
        labels = [shapes.index(o.noun) if o.noun in shapes else -1 for o in things]
        boxes.append(boxed(scene.boxes[seen].tolist(), "xyxy", labels))
        phrases.append(tuple(article(phrase(o)) for o in things))
    columns = {
        "captions": Column("captions", tuple(captions)),
        "boxes": Column("boxes", tuple(boxes)),
        "phrases": Column("captions", tuple(phrases)),
    }
    return Table(Pictures(scenes), columns)


def scene_data(recipe: SceneRecipe, sizes: Mapping[str, int], seed: int = 0, caption: Caption = short) -> LabelledData:
    """Return scenes as a data set, whose splits are stretches of one stream and share no scene."""
    splits, start = {}, 0
    for name, count in sizes.items():
        splits[name] = scene_table(Scenes(recipe, count, seed, start), caption)
        start += count
    return LabelledData("scenes", (), splits)


def scene_classes(recipe: SceneRecipe, name: str, count: int, seed: int = 0) -> LabelledData:
    """Return ``count`` scenes of one object, whatever the recipe says, as a labelled data set with the split "test";
    its classes are the phrases that occur.

    Example:
        >>> data = scene_classes(SceneRecipe(), "ones", count=3)
        >>> [data.classes[k] for k in data["test"].labels()]
        ['a blue star', 'a gray circle', 'a purple triangle']
    """
    table = scene_table(Scenes(replace(recipe, objects=(1,)), count, seed))
    shown = [phrases[0] for phrases in table.columns["phrases"].values]
    classes = tuple(sorted(set(shown)))
    labels = np.array([classes.index(p) for p in shown], dtype=np.int64)
    return LabelledData(name, classes, {"test": Table(table.items, {"label": Column("label", labels)})})
