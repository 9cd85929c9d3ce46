from __future__ import annotations

from dataclasses import replace

import pytest

from diptych.train.length import Length
from diptych.train.schedule import Fit, Schedule

TIMED = Fit(0.1, 8, seconds=10.0, schedule=Schedule(warmup=20))


def length(fit: Fit) -> Length:
    return Length(fit, "cpu")


def test_steps_are_those_of_the_fit_or_of_the_pace() -> None:
    steps, epochs = replace(TIMED, seconds=None, steps=7), replace(TIMED, seconds=None, epochs=3, accumulate=2)
    assert length(steps).steps(2, 99.0, lambda: 0) == 7
    assert length(epochs).steps(2, 99.0, lambda: 9) == 12
    assert [length(TIMED).steps(n, s, lambda: 0) for n, s in ((0, 0.0), (4, 1.0), (4, 20.0))] == [21, 40, 5]
    assert [length(TIMED).over(4, s, 40) for s in (9.9, 10.0)] == [False, True]
    assert [length(steps).over(n, 99.0, 7) for n in (6, 7)] == [False, True]


@pytest.mark.parametrize(("pace", "warm"), [(0.01, 20), (0.1, 10), (1.0, 1), (5.0, 0)])
def test_the_warm_up_is_at_most_a_tenth_of_the_time(pace: float, warm: int) -> None:
    own = length(TIMED)
    steps = own.steps(2, 2 * pace, lambda: 0)
    assert own.schedule(2, steps).warmup == warm
    assert warm * pace <= 1.0


def test_equal_steps_and_the_first_step_have_the_warm_up_of_the_fit() -> None:
    assert length(TIMED).schedule(0, 21).warmup == 20
    assert length(replace(TIMED, seconds=None, steps=50)).schedule(9, 50).warmup == 20


def test_seconds_are_of_the_process_on_a_cpu_and_of_the_clock_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.train.length.time.process_time", lambda: 1.0)
    monkeypatch.setattr("diptych.train.length.time.perf_counter", lambda: 2.0)
    assert (Length(TIMED, "cpu").now(), Length(TIMED, "cuda").now()) == (1.0, 2.0)
