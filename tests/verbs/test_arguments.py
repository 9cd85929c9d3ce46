from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from diptych.core.ranges import at_least
from diptych.verbs import arguments, kinds
from diptych.verbs.arguments import FACES, Argument, argument, fit_workers, served

COUNTS = at_least(1)


@dataclasses.dataclass(frozen=True)
class Asked:
    photos: object = argument("Photos.", kinds.MANY_PHOTOS, positional=True)
    count: int = argument("How many.", default=3, range=COUNTS)


def test_an_argument_is_a_field_with_its_facts_and_is_needed_where_it_has_no_default() -> None:
    photos, count = dataclasses.fields(Asked)
    assert photos.metadata["argument"] == Argument("Photos.", kinds.MANY_PHOTOS, positional=True)
    assert count.metadata["argument"] == Argument("How many.", range=COUNTS)
    assert (photos.metadata["argument"].faces, Asked(()).count) == (FACES, 3)
    with pytest.raises(TypeError, match="photos"):
        Asked()


@pytest.mark.parametrize("name", ["method", "like", "fitted", "fit_workers", "served", "settings"])
def test_arguments_that_several_verbs_have_are_explained_in_a_sentence(name: str) -> None:
    make = getattr(arguments, name)
    needed = [p for p in inspect.signature(make).parameters.values() if p.default is p.empty]
    field: Any = make(*("Photos that it learns from.",) * len(needed))
    explained = field.metadata["argument"]
    assert explained.help.endswith(".")
    assert explained.help[0].isupper()


def test_what_a_server_was_started_with_and_processes_of_this_machine_have_faces_of_their_own() -> None:
    assert served("segmenter").metadata["argument"].faces == ("http",)
    assert "http" not in fit_workers().metadata["argument"].faces
