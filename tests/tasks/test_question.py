from __future__ import annotations

from diptych.core.data import ClassNames
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.tasks.question import question

NAMES = ("red", "green", "blue")


class Before(MaskCLIP):
    merges = "before"


def test_the_method_says_when_words_are_merged() -> None:
    names = ClassNames(("warm", "blue"), ("{}",), (("red", "yellow"), ("blue",)), (True, False))
    after = question(names, MaskCLIP, background=("grey", "pink"))
    assert after.asked.names == ("grey", "pink", "red", "yellow", "blue")
    assert after.groups == (0, 0, 1, 1, 2)
    before = question(names, Before, background=("grey", "pink"))
    assert before.asked == before.classes
    assert before.groups is None
    assert before.classes.words == (("grey", "pink"), ("red", "yellow"), ("blue",))
    assert before.classes.things == after.classes.things == (False, True, False)
    assert question(NAMES, MaskCLIP).asked.names == NAMES
