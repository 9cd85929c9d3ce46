"""Scenes of painted shapes with label maps: ``tiny`` knows the names of the shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.core import ClassNames, Column, Table
from diptych.data.formats.regions import Masks
from diptych.data.labelled import LabelledData
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.sprites import SHAPES
from diptych.data.scenes.tables import Pictures
from diptych.metrics.segmentation import IGNORE

SHOWN = 80
"""Scenes that are measured."""
SCENES = SceneRecipe(objects=(2, 3))
SIDE = 64
"""Of scenes and of the input of ``tiny``, in pixels."""
NAMES = ClassNames(SHAPES, ("a photo of a {}.",))


def labelled_scenes(scenes: Scenes) -> LabelledData:
    """Return scenes as a data set with a test split."""
    masks = Column("mask", Masks(tuple(range(len(scenes))), lambda i: label_map(scenes, i)))
    return LabelledData("scenes", SHAPES, {"test": Table(Pictures(scenes), {"mask": masks})})


def label_map(scenes: Scenes, index: int) -> np.ndarray[Any, Any]:
    """Return (S, S) uint8 positions of the shapes; the ground does not count."""
    scene = scenes[index]
    out = np.full((SIDE, SIDE), IGNORE, dtype=np.uint8)
    for mask, thing in zip(scene.masks, scene.objects, strict=True):
        out[mask] = SHAPES.index(thing.noun)
    return out
