from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Samples, UsageError
from diptych.data.scenes.sprites import Picture
from proofs.scenes.moving import BACKWARDS, MOTIONS, Moving, MovingClips, drawn_plan, white_cut_out

RED = Picture("ball", np.dstack([np.full((10, 10), v, np.uint8) for v in (255, 0, 0, 255)]))
GREEN = np.dstack([np.full((40, 40), v, np.uint8) for v in (0, 255, 0)])
CLIPS = MovingClips((RED,), (GREEN, GREEN // 2), tuple(Moving(0, 0, motion, 0.3, 0.5) for motion in MOTIONS), 5)


def red(frame: Image.Image) -> np.ndarray:
    return np.asarray(frame)[..., 0] > 128


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_thing_moves_as_said_over_the_photo(motion: str) -> None:
    clip = CLIPS[list(MOTIONS).index(motion)]
    places = [np.argwhere(red(f)) for f in clip]
    steps = np.diff([p.mean(0) for p in places], axis=0)  # (y, x)
    areas = np.diff([len(p) for p in places])
    dx, dy, growth = MOTIONS[motion]
    assert np.sign(steps[:, 1].round()).tolist() == [dx] * 4
    assert np.sign(steps[:, 0].round()).tolist() == [dy] * 4
    if growth:
        assert (np.sign(areas) == growth).all()
    assert all((np.asarray(f)[~red(f)] == [0, 255, 0]).all() for f in clip)


def test_backwards_are_the_same_frames_in_reverse() -> None:
    for plan in CLIPS.plan:
        forth, back = (MovingClips((RED,), (GREEN,), (replace(plan, backwards=b),), 5) for b in (False, True))
        assert [f.tobytes() for f in forth[0]] == [f.tobytes() for f in reversed(back[0])]
        assert forth.key(0) != back.key(0)
        assert BACKWARDS[BACKWARDS[plan.motion]] == plan.motion


def test_keys_name_the_pixels_and_not_the_place() -> None:
    assert isinstance(CLIPS, Samples)
    again = MovingClips((RED, RED), (GREEN // 2, GREEN), (Moving(1, 1, "right", 0.3, 0.5),), 5)
    assert again.key(0) == CLIPS.key(0)
    assert len({CLIPS.key(i) for i in range(len(CLIPS))}) == len(CLIPS)
    assert replace(CLIPS, frames=6).key(0) != CLIPS.key(0)
    assert CLIPS.name(1) == "clip 1: ball left"


def test_plans_are_drawn_from_what_is_given() -> None:
    plan = drawn_plan([3, 5], [1, 2], 4, np.random.default_rng(0))
    assert plan == drawn_plan([3, 5], [1, 2], 4, np.random.default_rng(0))
    assert [p.sprite for p in plan] == [3] * 4 + [5] * 4
    assert {p.backdrop for p in plan} == {1, 2}


def test_white_cut_outs_keep_white_inside_and_become_square() -> None:
    pixels = np.full((20, 40, 3), 250, np.uint8)
    pixels[5:15, 8:28] = (10, 20, 30)
    pixels[8:12, 12:16] = 255  # white that the border cannot reach
    cut = white_cut_out(Image.fromarray(pixels), "box")
    assert cut.rgba.shape == (20, 20, 4)
    assert (cut.rgba[..., 3] > 0).sum() == 10 * 20
    assert (cut.rgba[8:12, 4:8, 3] == 255).all()
    with pytest.raises(DataError, match="empty"):
        white_cut_out(Image.new("RGB", (4, 4), "white"), "nothing")


def test_a_clip_needs_two_frames() -> None:
    with pytest.raises(UsageError, match="at least 2"):
        MovingClips((RED,), (GREEN,), (), 1)
