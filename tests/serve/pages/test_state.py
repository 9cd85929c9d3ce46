from __future__ import annotations

import numpy as np
import pytest
from starlette.datastructures import QueryParams

from diptych.serve.pages.state import State, packed, unpacked
from diptych.serve.refusals import Refusal


def test_an_address_gives_its_state_back() -> None:
    vector = np.array([0.6, -0.8, 0.0, 0.0], np.float32)
    state = State(
        "photos", "a cat; 2:at night", "0.5:dog", "year>=1990; a=b&c", 7, packed(vector), -0.5, 0.8, 0.25, 48, True
    )
    address = state.address()
    assert State.read(QueryParams(address.partition("?")[2])) == state
    assert State().address() == "/"
    further = State(q="x", skip=24, top=12)
    assert further.address() == "/?q=x&top=12&skip=24"
    assert further.address(head=True) == "/?q=x&top=12&head=1"  # other answers begin with the first
    assert state.address(q="x", minus="").count("minus") == 0
    assert state.words() == [("a cat", 1.0), ("at night", 2.0), ("dog", -0.5)]
    assert state.conditions() == ["year>=1990", "a=b&c"]
    assert np.allclose(state.vector(4), vector, atol=5e-3)


def test_colons_in_words_are_no_weights() -> None:
    assert State(q="scene: a dog; 0:cat; :x; 3:").words() == [("scene: a dog", 1.0), (":x", 1.0), ("3:", 1.0)]


@pytest.mark.parametrize("text", ["", "!!", packed(np.zeros(4, np.float32)), packed(np.ones(3, np.float32)), "é"])
def test_damaged_pictures_of_an_address_are_refused(text: str) -> None:
    with pytest.raises(Refusal, match="damaged"):
        unpacked(text, 4)


@pytest.mark.parametrize("given", [{"top": "0"}, {"top": "x"}, {"at_least": "1"}, {"like": "-1"}, {"captions": "nan"}])
def test_numbers_out_of_range_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(Refusal, match="must be a number"):
        State.read(given)
