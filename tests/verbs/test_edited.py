from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from diptych.core import EditAsk
from diptych.tasks.edit import Edits, Pair
from diptych.verbs.edited import Changed
from tests.support.pictures import picture


@pytest.mark.parametrize(("target", "unknown"), [("a blue dogs", "dogs"), ("a dog", "dog"), ("a brown ring", "")])
def test_words_that_no_drawn_shape_shows_are_named(target: str, unknown: str) -> None:
    remarks = Changed(Edits(EditAsk("a red circle", (target,), styles=torch.zeros(1, 28)), ()),
                      {"generator": "factors"}).remarks([])  # fmt: skip
    said = f"draws coloured shapes alone, and nothing says what it makes of {unknown}: give a generator"
    assert [said in remark for remark in remarks] == [True] * bool(unknown)


def test_an_object_taken_for_most_of_a_photo_is_doubted() -> None:
    photos: Any = [picture(0, 0)] * 3
    x = torch.zeros(3, 4, 4)
    pairs = tuple(Pair(f"{i}.jpg", x, x, facts={"areas": {"cup": share, "background": 1 - share}})
                  for i, share in enumerate((0.62, 0.2, 0.9)))  # fmt: skip
    ask = EditAsk("", ("cup: blue",), images=photos)
    (remark,) = Changed(Edits(ask, pairs), {}).remarks(pairs)
    assert remark.startswith("cup was taken for 62 % of 0.jpg, all of which is changed, and 1 more such picture: ")
    masked = replace(ask, masks=[np.ones((4, 4), bool)] * 3)
    assert Changed(Edits(masked, pairs), {}).remarks(pairs) == []
