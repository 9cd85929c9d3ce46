"""Scenes as tables: what is painted is what the columns say."""

from __future__ import annotations

import numpy as np

from diptych.data.scenes.compose import SceneRecipe
from diptych.data.scenes.tables import scene_data

RECIPE = SceneRecipe(objects=(1, 2, 3))


def test_splits_share_no_scene_and_columns_tell_the_truth() -> None:
    data = scene_data(RECIPE, {"train": 12, "test": 6}, seed=3)
    train, test = data["train"], data["test"]
    assert not {train.items.key(i) for i in range(12)} & {test.items.key(i) for i in range(6)}
    for i in range(6):
        scene = test.items.scenes[i]
        assert np.array_equal(np.asarray(test.items[i]), scene.image)
        assert test.columns["captions"].values[i] == (scene.captions["short"],)
        boxes, phrases = test.columns["boxes"].values[i], test.columns["phrases"].values[i]
        seen = scene.masks.any((1, 2))
        assert len(boxes.corners) == len(phrases) == seen.sum()
        for corners, label, phrase, mask in zip(*boxes[:2], phrases, scene.masks[seen], strict=True):
            x0, y0, x1, y1 = corners.astype(int)
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            assert RECIPE.bank.shapes[label] in phrase
    again = scene_data(RECIPE, {"train": 12, "test": 6}, seed=3)
    assert again.hash == data.hash
