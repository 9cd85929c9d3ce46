"""A verb of several steps is a function, and answers names that it lacks."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc

import pytest

import diptych
from diptych.core.guesses import GUESSES


@pytest.mark.parametrize("name", ["audit", "board", "curate"])
def test_names_that_are_not_there_are_answered_with_what_to_write(name: str) -> None:
    verb = getattr(diptych, name)
    for other, use in GUESSES[name].items():
        with pytest.raises(AttributeError, match=f"diptych.{name} has no '{other}': use ") as refused:
            getattr(verb, other)
        step = use.partition("(")[0]
        assert not step or step in verb.steps, use
        assert f"use diptych.{name}{'.' if step else ''}{use}." in str(refused.value)
    with pytest.raises(AttributeError, match=f"diptych.{name} has no 'nothing_like_it': it has "):
        _ = verb.nothing_like_it
    assert not hasattr(verb, "__fspath__")


def test_near_names_are_those_of_steps() -> None:
    with pytest.raises(AttributeError, match=r"diptych\.curate has no 'region': did you mean regions\?"):
        _ = diptych.curate.region  # type: ignore[attr-defined]


def test_it_is_taken_for_the_function_of_its_main_step() -> None:
    verb = diptych.curate
    assert verb.plan is getattr(verb, "run") is verb  # noqa: B009
    assert callable(verb)
    assert list(inspect.signature(verb).parameters)[:2] == ["sources", "model"]
    assert inspect.getdoc(verb) == inspect.getdoc(verb._main)
    shown = pydoc.plain(pydoc.render_doc(verb))
    assert "curate(sources: " in shown
    assert "Look at every pair of a pool once" in shown
    assert pickle.loads(pickle.dumps(verb)) is verb
    assert copy.deepcopy(verb) is verb
    with pytest.raises(TypeError, match=r"diptych\.curate"):
        verb()
