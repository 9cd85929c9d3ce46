from __future__ import annotations

import numpy as np

from diptych.data.scenes.compose import Scenes
from diptych.data.scenes.sprites import SHAPES
from diptych.metrics.segmentation import IGNORE
from proofs.scenes.label_maps import SCENES, SIDE, labelled_scenes


def test_every_visible_object_has_its_pixels_and_the_ground_none() -> None:
    scenes = Scenes(SCENES, 3, seed=4)
    table = labelled_scenes(scenes).split("test")
    assert len(table) == 3
    for i in range(3):
        labels, scene = np.asarray(table.columns["mask"].values[i]), scenes[i]
        assert labels.shape == (SIDE, SIDE)
        assert np.array_equal(labels != IGNORE, scene.masks.any(0))
        for mask, thing in zip(scene.masks, scene.objects, strict=True):
            assert set(labels[mask]) <= {SHAPES.index(thing.noun)}
