from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from diptych.core import Run


def test_once_makes_each_purpose_once_where_a_dictionary_is_given() -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    run = Run(learnt={})
    assert [run.once(purpose, lambda p=purpose: make(p)) for purpose in ("a", "b", "a")] == ["a", "b", "a"]
    assert made == ["a", "b"]
    assert replace(run, seed=1).once("a", lambda: "another") == "a", "copies of a run share the dictionary"


def test_a_run_without_a_dictionary_keeps_nothing() -> None:
    run = Run()
    assert [run.once("a", lambda v=value: v) for value in (1, 2)] == [1, 2]
    assert run.tally["saved_us"] == 0


def test_what_a_later_call_saves_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((10.0, 12.5))
    monkeypatch.setattr("diptych.core.run.time.perf_counter", lambda: next(clock))
    run = Run(learnt={})
    for saved in (0, 2_500_000, 5_000_000):
        run.once("a", lambda: 1)
        assert run.tally["saved_us"] == saved


def test_a_copy_in_another_process_learns_for_itself() -> None:
    run = Run(learnt={"a": (1, 0.5)})
    assert pickle.loads(pickle.dumps(run)).learnt is None
