from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from diptych.core import UsageError
from diptych.data.scenes.compose import SceneRecipe, Scenes
from proofs.scenes.edited import EDITS, EditedScenes, scene_attributes

SCENES = Scenes(SceneRecipe(objects=(2,), backgrounds=("light",)), 6, seed=4)


def test_an_edit_changes_pixels_of_objects_alone_and_repeats() -> None:
    for edit in EDITS:
        after = EditedScenes(SCENES, edit)
        assert len(after) == 6
        for i in range(6):
            old, new = SCENES[i], after[i]
            touched = binary_dilation(old.masks.any(0) | new.masks.any(0), iterations=5)  # edges are blended
            assert (old.image[~touched] == new.image[~touched]).all()
            assert (after[i].image == new.image).all()
            assert new.background == old.background
        assert any((SCENES[i].image != after[i].image).any() for i in range(6))
        assert after.key(0) != SCENES.key(0)
    assert len({EditedScenes(SCENES, e).key(0) for e in EDITS}) == len(EDITS)
    assert EditedScenes(SCENES, "color").name(2) == "scene 2 of seed 4 (color)"


def test_each_edit_does_what_it_says() -> None:
    for i in range(6):
        old = SCENES[i].objects
        new = {edit: EditedScenes(SCENES, edit)[i].objects for edit in EDITS}
        assert new["color"][0].colour not in {o.colour for o in old}
        assert new["color"][1] == old[1]
        assert new["quantity"][:2] == old
        assert new["quantity"][2].noun == old[1].noun
        assert new["presence"] == old[:1]
        assert [o.centre for o in new["position"]] == [o.centre for o in reversed(old)]
        assert new["orientation"][0].turn == pytest.approx(old[0].turn + 180)


def test_attributes_name_each_object_once() -> None:
    shown = SCENES[0]
    said = scene_attributes(shown)
    assert len(said) == len(set(said))
    for thing in shown.objects:
        assert thing.noun in said
        assert thing.colour in said
        assert any(t.startswith(("a ", "an ")) and t.endswith(thing.noun) for t in said)


def test_unknown_edits_and_lone_objects_are_refused() -> None:
    with pytest.raises(UsageError, match="no edit 'size': choose from color"):
        EditedScenes(SCENES, "size")
    with pytest.raises(UsageError, match="needs scenes of two objects"):
        EditedScenes(Scenes(SceneRecipe(), 2), "position")
    with pytest.raises(IndexError):
        EditedScenes(SCENES, "color")[6]
    assert np.asarray(EditedScenes(Scenes(SceneRecipe(), 2), "color")[1].image).shape == (64, 64, 3)
