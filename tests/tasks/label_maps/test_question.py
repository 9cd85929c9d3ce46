from __future__ import annotations

from typing import Any

import pytest
import torch

from diptych.core import ClassNames, Regions, Scores
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.nn.dense.label_maps import cells
from diptych.tasks.label_maps.question import question

NAMES = ("red", "green", "blue")


class Before(MaskCLIP):
    merges = "before"


def test_the_method_says_when_words_are_merged() -> None:
    names = ClassNames(("warm", "blue"), ("{}",), (("red", "yellow"), ("blue",)), (True, False))
    after = question(names, MaskCLIP, background=("grey", "pink"))
    assert after.fit_classes.names == ("grey", "pink", "red", "yellow", "blue")
    assert after.groups == (0, 0, 1, 1, 2)
    before = question(names, Before, background=("grey", "pink"))
    assert before.fit_classes == before.classes
    assert before.groups is None
    assert before.classes.words == (("grey", "pink"), ("red", "yellow"), ("blue",))
    assert before.classes.things == after.classes.things == (False, True, False)
    assert question(NAMES, MaskCLIP).fit_classes.names == NAMES


@pytest.mark.parametrize("how", [{"unknown": 0.6}, {"background": ("grey",), "threshold": 0.6}])
def test_what_is_uncertain_in_the_label_map_is_void_in_the_panoptic_map(how: dict[str, Any]) -> None:
    """Above it the red half is sure, and the other says nothing."""
    asked = question(NAMES, MaskCLIP, things=("red",), **how)
    maps = torch.zeros(len(asked.fit_classes), 16, 16)
    maps[asked.fit_classes.names.index("red"), :, :8] = 9.0
    regions = cells(maps, (16, 16))
    labels, found = asked.labels(regions)[0], asked.panoptic(regions)
    assert (labels[:, 9:] == asked.rest).all()
    assert not found.ids[:, 9:].any()
    (red,) = found.segments
    assert (red.thing, red.area) == (True, int((labels == asked.classes.names.index("red")).sum()))


def test_the_areas_of_classes_are_those_of_their_segments() -> None:
    """Many weak masks name all of a photo "sheep", and the surest mask of its lower half names grass."""
    asked = question(("sheep", "grass"), Before, things=("sheep",))
    whole, lower = torch.ones(20, 20), torch.zeros(20, 20)
    lower[10:] = 1.0
    p = torch.tensor([[0.6, 0.01]] + [[0.3, 0.01]] * 4 + [[0.01, 0.7]])
    regions = Regions(Scores(p.log(), "log_prob"), (20, 20), (20, 20), torch.stack([whole] * 5 + [lower]))
    assert (asked.labels(regions)[0] == 0).all()
    assert [(s.label, s.area) for s in asked.panoptic(regions).segments] == [
        (1, 200)
    ]  # too little of the sheep is left
    labels, sure, segments = asked.answer(regions, scored=True)
    assert segments is not None
    for s in segments.segments:
        assert (labels[segments.ids == s.id] == s.label).all()
        assert int((labels == s.label).sum()) == s.area
    assert sure[15, 5] == pytest.approx(0.7)
    assert asked.answer(regions, scored=True)[1][5, 5] == sure[5, 5] < 0.7


def test_without_things_there_are_no_segments() -> None:
    asked = question(NAMES, MaskCLIP)
    regions = cells(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)), (16, 16))
    labels, _, segments = asked.answer(regions)
    assert segments is None
    assert (labels == asked.labels(regions)[0]).all()
