from __future__ import annotations

import pytest

from diptych.methods.curate.clip_score import CLIPScoreFilter
from diptych.testing import ContractBroken
from diptych.testing.roles.curate import CuratorExam, Tiles
from tests.support.answers import answered


def test_verdicts_that_are_none_or_depend_on_the_start_are_noticed() -> None:
    exam = CuratorExam(CLIPScoreFilter)
    verdicts, plan = exam.first.answer, exam.first.fitted
    exam.verdicts_do_not_depend_on_the_start()
    for promise in ("verdicts_do_not_depend_on_the_start", "what_is_fitted_can_be_saved"):
        with pytest.raises(ContractBroken, match="other verdicts"):
            getattr(answered(CuratorExam(CLIPScoreFilter), verdicts[::-1], plan), promise)()
    with pytest.raises(ContractBroken, match="one verdict per item, in order"):
        answered(exam, verdicts[1:], plan).answers_as_its_role_says()


def test_tiles_have_no_text_and_say_where_they_were_cut() -> None:
    tiles = [tile for _, tile in Tiles().seek(22)]
    assert [tile.cut["x"] for tile in tiles] == [22, 23]
    assert not hasattr(tiles[0], "text")
