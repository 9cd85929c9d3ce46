"""Captions are measured against those of people, and by a judge that shares no tower with the captioner."""

from __future__ import annotations

import pytest

from diptych.core import Run, UsageError
from diptych.tasks.judge import judge, judge_against, measure
from tests.support.backbone import SmallBackbone
from tests.support.colours import ColourBackbone
from tests.support.pictures import Pictures, picture


def test_measures_and_the_judge() -> None:
    measures = measure(["a red wall", "a dog"], [["a red wall"], ["a dog runs"]])
    assert set(measures) == {"cider_d", "bleu4", "rouge_l", "distinct2", "repetition2"}
    images = Pictures((picture(0, 0), picture(1, 1)))
    value = judge(images, ["a red wall", "a sea"], ColourBackbone(), SmallBackbone(), Run())
    assert 0 <= value <= 2.5
    both = judge_against(
        images, ["a red wall", "a sea"], [["a wall"], ["a sea"]], ColourBackbone(), SmallBackbone(), Run()
    )
    assert both["clip_score"] == value
    assert 0 <= both["ref_clip_score"] <= 5 / 3.5
    with pytest.raises(UsageError, match="name another judge"):
        judge(images, ["a", "b"], SmallBackbone(), SmallBackbone(seed=1), Run())  # they share the text tower
