from __future__ import annotations

import numpy as np
import pytest

from diptych.data.scenes.compose import SceneRecipe, scene
from diptych.data.scenes.sprites import SpriteBank
from proofs.scenes.read import SceneReader

BANK = SpriteBank(
    shapes=("circle", "square", "star", "ring"),
    colours=("red", "green", "blue", "yellow"),
    textures=("plain", "striped"),
)


@pytest.fixture(scope="module")
def reader() -> SceneReader:
    return SceneReader(BANK, 32, (0.4, 0.6), turns=(-8.0, 0.0, 8.0))


def test_objects_of_composed_scenes_are_read(reader: SceneReader) -> None:
    scenes = [scene(SceneRecipe(BANK, size=32, sides=(0.4, 0.6)), 5, i) for i in range(60)]
    seen = [found[0] for found in reader.read_all(np.stack([s.image for s in scenes]))]
    right = [(s.shape, s.colour) == (t.objects[0].noun, t.objects[0].colour) for s, t in zip(seen, scenes, strict=True)]
    assert np.mean(right) >= 0.95
    assert np.mean([s.texture == t.objects[0].texture for s, t in zip(seen, scenes, strict=True)]) >= 0.9
    overlap = [(s.mask & t.masks[0]).sum() / (s.mask | t.masks[0]).sum() for s, t in zip(seen, scenes, strict=True)]
    assert np.mean(overlap) > 0.8
    assert all(0 < s.explained <= 1 for s in seen)


def test_two_objects_are_read_one_after_the_other() -> None:
    reader = SceneReader(BANK, 32, (0.3, 0.46))
    recipe = SceneRecipe(BANK, size=32, objects=(2,), sides=(0.32, 0.44), backgrounds=("light", "dark", "gradient"))
    scenes = [scene(recipe, 6, i) for i in range(20)]
    found = reader.read_all(np.stack([s.image for s in scenes]), 2)
    right = [
        {(s.shape, s.colour) for s in seen} == {(t.noun, t.colour) for t in shown.objects}
        for seen, shown in zip(found, scenes, strict=True)
    ]
    assert np.mean(right) >= 0.9
    one = reader.read(scenes[0].image, 2)
    assert [(s.shape, s.colour, s.centre) for s in one] == [(s.shape, s.colour, s.centre) for s in found[0]]


def test_an_empty_picture_explains_nothing(reader: SceneReader) -> None:
    assert reader.read(np.full((32, 32, 3), 77, np.uint8))[0].explained < 0.5
