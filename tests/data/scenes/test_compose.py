from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, NotAvailable, Samples, UsageError
from diptych.data.scenes.captions import plural
from diptych.data.scenes.compose import (
    RELATIONS,
    SceneRecipe,
    Scenes,
    clip,
    hold_out,
    relation_of,
    scene,
)
from diptych.data.scenes.sprites import COLOURS, SHAPES, TEXTURES, Picture, SpriteBank, read_emoji, shape_mask, texture
from diptych.data.words.sentences import article
from proofs.scenes.moving import cut_out

RECIPE = SceneRecipe(SpriteBank(textures=TEXTURES), objects=(1, 2, 3), same=0.3, languages=("de", "fr", "es"))


def test_a_scene_is_fixed_by_recipe_seed_and_number():
    first, again, other = scene(RECIPE, 3, 14), scene(RECIPE, 3, 14), scene(RECIPE, 4, 14)
    assert np.array_equal(first.image, again.image)
    assert first.objects == again.objects
    assert not np.array_equal(first.image, other.image)


def test_global_numpy_generator_is_untouched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    scene(RECIPE, 0, 0)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("number", range(40))
def test_boxes_frame_the_masks_and_masks_never_overlap(number):
    s = scene(RECIPE, 0, number)
    assert s.image.shape == (64, 64, 3)
    assert s.image.dtype == np.uint8
    assert s.masks.shape == (len(s.objects), 64, 64)
    assert s.masks.sum(0).max() <= 1
    for mask, box in zip(s.masks, s.boxes, strict=True):
        rows, columns = np.where(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("number", range(20))
def test_a_plain_object_has_its_colour_where_its_mask_is(number):
    s = scene(replace(RECIPE, bank=SpriteBank(), objects=(1,)), 5, number)
    (thing,) = s.objects
    seen = s.image[s.masks[0]].astype(float).mean(0)
    distances = {
        name: np.abs(seen / max(seen.max(), 1) - np.array(rgb) / max(rgb)).sum() for name, rgb in COLOURS.items()
    }
    assert min(distances, key=distances.get) == thing.colour


@pytest.mark.parametrize("number", range(40))
def test_the_relation_is_true_of_the_boxes(number):
    s = scene(replace(RECIPE, objects=(2,), same=0.0), 7, number)
    if s.relation is None:
        return
    (ax, ay), (bx, by) = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in s.boxes]
    true = {RELATIONS[0]: ax < bx, RELATIONS[1]: ax > bx, RELATIONS[2]: ay < by, RELATIONS[3]: ay > by}
    assert true[s.relation]
    assert s.captions["short"].count(s.relation) == 1


def test_alike_objects_are_counted():
    s = scene(replace(RECIPE, objects=(3,), same=1.0), 0, 0)
    assert s.captions["short"].startswith("three ")
    assert len({(o.noun, o.colour) for o in s.objects}) == 1
    assert s.relation is None


def test_relation_prefers_the_larger_distance():
    a, b = scene(replace(RECIPE, objects=(2,), same=0.0), 0, 0).objects
    assert relation_of(replace(a, centre=(0.1, 0.5)), replace(b, centre=(0.9, 0.4))) == "to the left of"
    assert relation_of(replace(a, centre=(0.5, 0.9)), replace(b, centre=(0.4, 0.1))) == "below"


def test_held_out_pairs_never_occur_and_every_part_still_does():
    bank = SpriteBank()
    held = hold_out(bank, 0.25, seed=0)
    assert len(held) == 30
    rest = SceneRecipe(bank, held_out=held).pairs()
    assert {c for c, _ in rest} == set(COLOURS)
    assert {s for _, s in rest} == set(SHAPES)
    recipe = SceneRecipe(bank, held_out=held)
    drawn = {(o.colour, o.noun) for i in range(300) for o in scene(recipe, 0, i).objects}
    assert not drawn & held
    only = SceneRecipe(bank, only=held)
    assert {(o.colour, o.noun) for i in range(50) for o in scene(only, 0, i).objects} <= held


def test_translations_name_colour_and_shape():
    s = scene(replace(RECIPE, objects=(1,), bank=SpriteBank(shapes=("star",), colours=("red",))), 0, 0)
    assert s.captions["de"] == "Stern (rot)"
    assert s.captions["fr"] == "étoile (rouge)"


def test_pictures_bring_their_names():
    sprite = Picture("mug", np.full((9, 9, 4), 255, np.uint8), {"de": "Becher"})
    recipe = SceneRecipe(SpriteBank(pictures=(sprite,), picture_share=1.0), languages=("de",))
    s = scene(recipe, 0, 0)
    assert s.captions == s.captions | {"short": "a mug", "de": "Becher"}
    assert s.masks[0].any()
    assert s.objects[0].turn == 0.0  # it is not turned, so its truth must not say so


def test_clip_moves_the_object_the_way_the_caption_says():
    for number in range(20):
        frames, caption = clip(RECIPE, 0, number)
        boxes = np.array([f.boxes[0] for f in frames])
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        change = {
            "left": x[0] - x[-1],
            "right": x[-1] - x[0],
            "up": y[0] - y[-1],
            "down": y[-1] - y[0],
            "grows": area[-1] - area[0],
            "shrinks": area[0] - area[-1],
        }
        assert change[caption.split()[-1]] > 0, caption


def test_scenes_are_samples():
    scenes = Scenes(RECIPE, 3, seed=2, start=4)
    assert isinstance(scenes, Samples)
    assert np.array_equal(scenes[1].image, scene(RECIPE, 2, 5).image)
    assert len({scenes.key(i) for i in range(3)}) == 3
    assert scenes.key(1) == Scenes(RECIPE, 1, seed=2, start=5).key(0)
    with pytest.raises(IndexError):
        scenes[3]


def test_keys_are_the_same_in_every_process_and_follow_the_pixels_of_pictures():
    held = SceneRecipe(held_out=frozenset({("red", "star"), ("blue", "ring"), ("green", "cross")}))
    assert Scenes(held, 1).key(0).startswith("da07e8df")  # a set is written in another order by every process
    one, other = (SceneRecipe(SpriteBank(pictures=(Picture("mug", np.full((9, 9, 4), n, np.uint8)),))) for n in (1, 2))
    assert Scenes(one, 1).key(0) != Scenes(other, 1).key(0)


def test_cut_out_takes_the_masked_pixels():
    image = Image.new("RGB", (10, 8), (10, 200, 30))
    mask = Image.new("L", (10, 8), 0)
    mask.paste(255, (2, 3, 6, 7))
    sprite = cut_out(image, mask, "leaf")
    assert sprite.rgba.shape == (4, 4, 4)
    assert sprite.rgba[0, 0].tolist() == [10, 200, 30, 255]


def test_bad_input_is_named():
    with pytest.raises(DataError, match="No shape"):
        shape_mask("blob")
    with pytest.raises(DataError, match="No texture"):
        texture("woven", 4)
    with pytest.raises(UsageError, match="at least one object"):
        SceneRecipe(objects=())
    with pytest.raises(UsageError, match="No colour and shape"):
        SceneRecipe(held_out=frozenset(SpriteBank().combinations()))
    with pytest.raises(NotAvailable, match="No emoji table"):
        read_emoji(__import__("pathlib").Path("nowhere.parquet"))
    with pytest.raises(DataError, match="one size"):
        cut_out(Image.new("RGB", (2, 2)), Image.new("L", (3, 3)), "x")
    with pytest.raises(DataError, match="empty"):
        cut_out(Image.new("RGB", (2, 2)), Image.new("L", (2, 2)), "x")


def test_words():
    assert [plural(w) for w in ("cross", "star", "berry", "key", "box")] == [
        "crosses",
        "stars",
        "berries",
        "keys",
        "boxes",
    ]
    assert article("orange ring") == "an orange ring"


@pytest.mark.data
def test_emoji_table_reads(data_root):
    pictures = read_emoji(data_root / "emoji" / "emoji.parquet", groups=frozenset({"food & drink"}))
    assert len(pictures) > 20
    assert all(p.rgba.shape[-1] == 4 for p in pictures)
    assert {"de", "fr"} <= set(pictures[0].names)
