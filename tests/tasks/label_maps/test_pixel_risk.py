"""The promise per pixel, on photos of colours whose label maps agree with them or not."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from diptych.core import Column, DataError, Evidence, FittedSegmenter, Kit, Run, Table, UsageError
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.nn.dense.label_maps import Windows
from diptych.tasks.label_maps.pixel_risk import Promise, promise
from diptych.tasks.label_maps.question import Question, question
from diptych.tasks.label_maps.segmented import Segmented
from diptych.tasks.segment import segmented
from tests.support.colours import COLOURS
from tests.support.dense_colours import DenseColours, halves
from tests.support.pictures import Pictures

NAMES = tuple(COLOURS)[:3]
SMALL = MaskCLIP(windows=Windows(40, 32, 16))


def photos(count: int, doubtful: int = 0, *, seed: int = 0) -> Table:
    """Return photos of two colours; left in the first ``doubtful`` the colour lies between two, and the map names
    either of them.
    """
    rng = np.random.default_rng(seed)
    pictures, masks = [], []
    for i in range(count):
        left, right, other = rng.permutation(3)
        picture = halves(NAMES[left], NAMES[right], 64, 40)
        if i < doubtful:
            picture = Image.blend(picture, halves(NAMES[other], NAMES[right], 64, 40), rng.uniform(0.4, 0.6))
            left = rng.choice((left, other))
        pictures.append(picture)
        mask = np.where(np.arange(64) < 32, left, right) * np.ones((40, 1), int)
        masks.append(mask.astype(np.uint8))
    return Table(Pictures(tuple(pictures)), {"mask": Column("mask", tuple(masks))})


def asked(**more: object) -> tuple[FittedSegmenter, Question]:
    question_of = question(NAMES, SMALL, templates=("{}",), **more)  # type: ignore[arg-type]
    return SMALL.fit(Kit({"main": DenseColours()}), question_of.fit_classes, Evidence(), Run()), question_of


def test_where_maps_agree_all_pixels_keep_their_names() -> None:
    fitted, question_of = asked()
    chosen, held = promise(fitted, photos(20), NAMES, question_of, Run(), 0.1)
    assert held == Promise(chosen.threshold, 0.1, 20, held.wrong, held.named)
    assert held.wrong < 0.06
    assert held.named > 0.95
    assert chosen.rest == 255


def test_where_maps_disagree_fewer_pixels_are_named_and_the_risk_holds_on_others() -> None:
    fitted, question_of = asked()
    chosen, held = promise(fitted, photos(40, 30), NAMES, question_of, Run(), 0.1)
    assert held.wrong <= 0.1
    assert held.named < 0.9
    others = photos(20, 15, seed=1)
    shares = []
    for item, mask in zip(segmented(fitted, others.items, chosen, Run()), others.columns["mask"].values, strict=True):
        assert isinstance(item, Segmented)
        shares.append(((item.labels != mask) & (item.labels != 255)).mean())
    assert np.mean(shares) < 0.2


def test_pixels_of_no_name_are_wrong_unless_there_are_words_for_background() -> None:
    labels = ("red", "green", "sea")  # what is blue is none of the names
    names = question(NAMES[:2], SMALL, templates=("{}",))
    two = SMALL.fit(Kit({"main": DenseColours()}), names.fit_classes, Evidence(), Run())
    _, without = promise(two, photos(40), labels, names, Run(), 0.3)
    rest = question(NAMES[:2], SMALL, templates=("{}",), background=("blue",))
    three = SMALL.fit(Kit({"main": DenseColours()}), rest.fit_classes, Evidence(), Run())
    _, within = promise(three, photos(40), labels, rest, Run(), 0.3)
    assert within.threshold < 0.5 < without.threshold
    assert within.named > 0.95 > without.named


def test_what_cannot_be_promised_is_refused() -> None:
    fitted, question_of = asked()
    with (
        patch.object(type(fitted), "regions", side_effect=AssertionError("no photo is segmented before")),
        pytest.raises(UsageError, match=r"8 calibration photos cannot promise a risk of 0\.1: give 9"),
    ):
        promise(fitted, photos(8), NAMES, question_of, Run(), 0.1)
    with pytest.raises(DataError, match="None of the names is a class of the calibration masks, such as sea, sky"):
        promise(fitted, photos(20), ("sea", "sky", "land"), question_of, Run(), 0.1)
    with pytest.raises(DataError, match="The calibration photos have no label maps"):
        promise(fitted, replace(photos(20), columns={}), NAMES, question_of, Run(), 0.1)
