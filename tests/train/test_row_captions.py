from __future__ import annotations

import pytest
import torch

from diptych.core import DataError, Row
from diptych.train.row_captions import RowCaptions

PROMPTS = (("a photo of a cat.", "a drawing of a cat."), ("a photo of a dog.",))


def test_own_captions_come_before_prompts() -> None:
    g = torch.Generator().manual_seed(0)
    captions = RowCaptions(PROMPTS)
    assert captions.of(Row(None, 0, "k", {"captions": ("sits", "sleeps"), "label": 1})) == ["sits", "sleeps"]
    assert captions.of(Row(None, 0, "k", {"captions": "sits"})) == ["sits"]
    assert captions.one(Row(None, 0, "k", {"captions": (), "label": 1}), g) == "a photo of a dog."


def test_captions_are_drawn_without_repeats_as_long_as_there_are_others() -> None:
    g, row = torch.Generator().manual_seed(0), Row(None, 0, "k", {"captions": ("a", "b", "c")})
    draws = [RowCaptions().drawn(row, g, 2) for _ in range(200)]
    assert all(len(set(d)) == 2 for d in draws)
    assert {d[0] for d in draws} == {"a", "b", "c"}
    assert sorted(RowCaptions().drawn(row, g, 7)) in (sorted("abcabc" + c) for c in "abc")


def test_a_row_without_any_is_named() -> None:
    with pytest.raises(DataError, match="Row 4 has no captions"):
        RowCaptions().of(Row(None, 4, "k", {"label": 1}))
    with pytest.raises(DataError, match="Row 4 has no captions"):
        RowCaptions(PROMPTS).of(Row(None, 4, "k", {"captions": ()}))
