from __future__ import annotations

import pytest

from diptych.core import Text
from diptych.methods.caption.nearest_caption import NearestCaption
from diptych.testing import ContractBroken
from diptych.testing.roles.caption import CaptionerExam
from tests.support.answers import answered


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[Text("a")]] * 2, "3 images get 2 answers"),
        ([[Text("a")] * 2] * 3, "one caption is wanted, and 2 are given"),
        ([["a"]] * 3, "a caption is no Text"),
    ],
)
def test_captions_that_are_none_are_refused(answer: object, message: str) -> None:
    with pytest.raises(ContractBroken, match=message):
        answered(CaptionerExam(NearestCaption), answer).answers_as_its_role_says()


def test_captions_that_depend_on_the_other_images_are_noticed() -> None:
    exam = CaptionerExam(NearestCaption)
    exam.an_item_alone_is_answered_as_among_others()
    with pytest.raises(ContractBroken, match="an item alone"):
        answered(exam, exam.first.answer[::-1], exam.first.fitted).an_item_alone_is_answered_as_among_others()
