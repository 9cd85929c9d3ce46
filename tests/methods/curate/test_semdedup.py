from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from diptych.core import DataError, Kit, Run, UnreadableItem, UsageError
from diptych.features.pair_vectors import Rule
from diptych.features.score_counts import ScoreCounts
from diptych.methods.curate.semdedup import SemDeDup
from tests.support.backbone import SmallBackbone
from tests.support.pictures import picture
from tests.support.refused import refused

KIT = Kit({"main": SmallBackbone()})


@dataclass(frozen=True)
class Item:
    """Every picture twice, the second time mirrored where its number is odd."""

    number: int

    @property
    def name(self) -> str:
        return f"{self.number}.png"

    def image(self) -> Image.Image:
        if self.number == 5:
            raise UnreadableItem("5.png", "truncated")
        image = picture(self.number // 2 % 4, self.number // 2)
        return ImageOps.mirror(image) if self.number // 2 % 2 and self.number % 2 else image

    def text(self) -> str:
        return "a caption"


@dataclass(frozen=True)
class Items:
    count: int = 40
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return ((i, Item(i)) for i in range(self.start, self.count))

    def seek(self, position: int) -> Items:
        return replace(self, start=position)


def kept(method: SemDeDup, run: Run = Run()) -> set[int]:  # noqa: B008
    plan = method.plan(KIT, Items(), run)
    return {v.position for v in method.apply(KIT, plan, Items(), run) if v.keep}


def test_one_of_two_equal_pictures_stays_and_with_mirror_images_one_of_a_mirrored_pair() -> None:
    exact, mirrored = kept(SemDeDup(eps=0.0, cells=1)), kept(SemDeDup(eps=0.0, cells=1, mirror=True))
    for first in range(0, 40, 2):
        both = {first, first + 1} - {5}
        if first // 2 % 2:
            assert both <= exact, "mirrored copies are other pictures"
        else:
            assert len(both & exact) == 1
        assert len(both & mirrored) == 1


@pytest.mark.parametrize("rule", ["hash", "either"])
def test_hashes_decide_where_they_are_asked(rule: Rule) -> None:
    hashed = kept(SemDeDup(eps=0.0, rule=rule, bits=0, cells=1, mirror=True))
    assert all(len(({i, i + 1} - {5}) & hashed) == 1 for i in range(0, 40, 2))
    assert len(kept(SemDeDup(eps=1.9, cells=1))) == 1, "without hashes nearly every cosine is a duplicate"


def test_more_cells_than_half_the_pairs_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="30 cells of 39 pairs hold fewer than 2"):
        kept(SemDeDup(cells=30))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        kept(SemDeDup(cells=1))
        kept(SemDeDup())


def test_which_one_stays_depends_on_the_seed_at_random_alone() -> None:
    runs = Run(seed=1), Run(seed=2)
    assert len({frozenset(kept(SemDeDup(eps=0.0, keep="random"), run)) for run in runs}) == 2
    assert len({frozenset(kept(SemDeDup(eps=0.0), run)) for run in runs}) == 1


def test_what_the_plan_has_not_seen_is_dropped_with_its_reason(tmp_path: Path) -> None:
    method = SemDeDup()
    plan = method.plan(KIT, Items(20), Run())
    verdicts = list(method.apply(KIT, plan, Items(22), Run()))
    reasons = [v.position for v in verdicts if v.reason]
    assert reasons == [5, 20, 21]
    assert all(math.isnan(v.score) and not v.keep for v in verdicts if v.reason)
    assert plan.unread == (("5.png", "truncated"),)
    plan.write(tmp_path / "p")
    again = list(method.apply(KIT, method.read_plan(tmp_path / "p"), Items(20), Run()))
    assert [(v.keep, v.reason) for v in again] == [(v.keep, v.reason) for v in verdicts[:20]]


def test_bad_input_is_named(tmp_path: Path) -> None:
    refused(SemDeDup, {"eps": -0.1}, {"keep": "first"}, {"bits": 65}, {"cells": 0}, {"rule": "all"})
    plan = SemDeDup().plan(KIT, Items(4), Run())
    with pytest.raises(UsageError, match="made without mirror images, and this is with"):
        list(SemDeDup(mirror=True).apply(KIT, plan, Items(4), Run()))
    with pytest.raises(UsageError, match="from another system"):
        list(SemDeDup().apply(KIT, ScoreCounts.of("b", [0.1]), Items(4), Run()))
    with pytest.raises(DataError, match="no plan of semdedup"):
        SemDeDup().read_plan(tmp_path / "absent")
