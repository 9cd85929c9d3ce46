from __future__ import annotations

import inspect

import diptych
from diptych.verbs.curate.plan import CuratePlan
from diptych.verbs.curate.steps import CURATE


def test_the_steps_are_attributes_of_the_function() -> None:
    assert list(CURATE.steps) == ["plan", "apply", "looks", "head", "regions"]
    assert diptych.curate.plan is diptych.curate
    assert diptych.curate.apply.__qualname__ == "curate.apply"
    assert "    threshold: " in (diptych.curate.apply.__doc__ or "")
    assert inspect.signature(diptych.curate.head).parameters["positive"].default is inspect.Parameter.empty


def test_a_curation_trains_nothing() -> None:
    assert not CuratePlan.trains
