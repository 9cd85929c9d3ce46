from __future__ import annotations

import numpy as np
import pytest

from diptych.core import UsageError
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.sprites import SpriteBank
from proofs.scenes.associated import AssociatedScenes, captioned, labelled

USUAL = {"circle": "red", "star": "blue", "ring": "green"}
RECIPE = SceneRecipe(SpriteBank(shapes=tuple(USUAL), colours=tuple(USUAL.values())), size=32)


def made(share: float, count: int = 60, **more: object) -> AssociatedScenes:
    return AssociatedScenes(Scenes(RECIPE, count, 3, **more), USUAL, share)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_usual_colours_is_that_asked_for(share: float) -> None:
    things = [o for i in range(60) for o in made(share)[i].objects]
    usual = np.mean([o.colour == USUAL[o.noun] for o in things])
    assert usual == share if share in (0.0, 1.0) else abs(usual - share) < 0.2


def test_scenes_of_one_number_differ_in_colours_alone_and_do_not_depend_on_the_start() -> None:
    one, two, later = made(1.0), made(0.0), made(1.0, 10, start=5)
    for i in range(5):
        assert [(o.noun, o.centre, o.side) for o in one[i].objects] == [
            (o.noun, o.centre, o.side) for o in two[i].objects
        ]
        assert (one[i + 5].image == later[i].image).all()
        assert one.key(i + 5) == later.key(i)
        assert one.key(i) != two.key(i)


def test_every_other_caption_names_colours_and_labels_are_shapes() -> None:
    table = captioned(made(1.0, 4))
    said = [own[0] for own in table.columns["captions"].values]
    assert [any(c in text for c in USUAL.values()) for text in said] == [True, False, True, False]
    rows = labelled(made(1.0, 6))
    shapes, colours = list(USUAL), list(USUAL.values())
    assert [colours[k] for k in rows.labels()] == list(rows.columns["attribute"].values)
    assert all(rows.items.name(i).startswith("scene") for i in range(6))
    assert len(shapes) == 3


def test_a_wrong_share_and_a_shape_without_a_colour_are_refused() -> None:
    with pytest.raises(UsageError, match=r"share must be in \[0, 1\]"):
        made(1.5)
    with pytest.raises(UsageError, match="'star' has no usual colour"):
        AssociatedScenes(Scenes(RECIPE, 2), {"circle": "red"}, 0.5)
    with pytest.raises(IndexError):
        made(0.5, 2)[2]
