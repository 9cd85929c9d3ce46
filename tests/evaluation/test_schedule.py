"""The scheduler: limits, what does not fit, what fails, Ctrl-C."""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from typing import Any

import pytest

from diptych.core import DataError, MissingHook, Run, UsageError
from diptych.evaluation.kept import Unwritten
from diptych.evaluation.schedule import Limits, OutOfTime, Worked, deadline, work


def done(worked: Worked[str, Any]) -> list[str]:
    return [job for job, *_ in worked.done]


def run_jobs(jobs: str, does: dict[str, Any], **more: Any) -> Worked[str, str]:
    """Measure jobs of one letter each; their row is the letter in capitals."""

    def measure(job: str) -> str:
        if isinstance(does.get(job), BaseException):
            raise does[job]
        return job * 2

    return work(list(jobs), measure, Run(), label=str.upper, **more)


def test_what_fails_costs_its_own_row_alone() -> None:
    worked = run_jobs(
        "abcd", {"a": MissingHook("no attention"), "c": DataError("too few photos"), "d": OSError("disk")}
    )
    assert [(job, result) for job, result, _ in worked.done] == [("b", "bb")]
    place = r"It failed, please report it: OSError: disk \(test_schedule.py, line \d+\)"
    assert re.fullmatch(place, worked.missing.pop("D")), "whoever wrote the system sees no traceback"
    assert worked.missing == {"A": "no attention", "C": "too few photos"}
    assert (worked.late, worked.interrupted) == ({}, False)


def test_a_row_that_does_not_fit_is_not_tried_again_and_a_failure_names_its_place() -> None:
    jobs = ["a1", "a2", "b1", "b2"]
    errors = {"a1": MissingHook("no attention"), "b1": DataError("few")}

    def measure(job: str) -> str:
        if job in errors:
            raise errors[job]
        return job

    worked = work(jobs, measure, Run(), label=lambda j: j[0], at=lambda j: f"seed {j[1]}")
    assert done(worked) == ["b2"]
    assert worked.missing == {"a": "no attention", "b, seed 1": "few"}


def test_what_the_data_are_at_fault_for_is_raised() -> None:
    with pytest.raises(DataError, match="few"):
        run_jobs("ab", {"a": DataError("few")}, stops=lambda job: job == "a")
    assert run_jobs("ab", {"a": MissingHook("x")}, stops=lambda job: job == "a").missing == {"A": "x"}


def test_what_is_no_fault_of_a_job_is_raised() -> None:
    with pytest.raises(Unwritten):
        run_jobs("ab", {"a": Unwritten("read only")})
    assert done(run_jobs("ab", {"a": FileNotFoundError("gone")})) == ["b"]


def test_ctrl_c_keeps_what_was_finished() -> None:
    worked = run_jobs("abc", {"b": KeyboardInterrupt()})
    assert (done(worked), worked.interrupted) == (["a"], True)
    with pytest.raises(KeyboardInterrupt):
        run_jobs("bc", {"b": KeyboardInterrupt()})


def test_a_time_out_ends_a_row_and_a_spent_budget_all_but_what_always_runs() -> None:
    def measure(job: str) -> str:
        if job == "b":
            signal.raise_signal(signal.SIGALRM)  # what the timer of ``deadline`` does in the end
        return job

    worked = work(list("abc"), measure, Run(), label=str.upper, limits=Limits(timeout=300))
    assert (done(worked), worked.late) == (["a", "c"], {"B": "its time-out of 300 s was over."})
    past = Limits(budget=1, began=time.monotonic() - 2)
    worked = run_jobs("ab", {}, limits=past, always=lambda job: job == "a")
    assert (done(worked), worked.late) == (["a"], {"B": "the budget of 1 s was spent."})


def test_limits_are_numbers_of_seconds() -> None:
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(UsageError, match="budget must be a number of seconds above 0"):
            Limits(budget=wrong)
        with pytest.raises(UsageError, match="timeout must be"):
            Limits(timeout=wrong)
    assert Limits().left(9, 9) == (None, "")
    assert Limits(10, 4).left(7, 0) == (3, "the budget of 10 s was spent")
    assert Limits(10, 4).left(1, 2) == (2, "its time-out of 4 s was over")


def test_it_stops_what_takes_too_long_and_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(OutOfTime), deadline(0.05):
        time.sleep(60)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_no_end_and_enough_time_change_nothing() -> None:
    for seconds in (None, 60.0):
        with deadline(seconds):
            done = True
        assert done
    with pytest.raises(OutOfTime), deadline(0):
        pass


def test_a_system_cannot_take_it_for_a_failure_of_its_own() -> None:
    assert not issubclass(OutOfTime, Exception)


def test_outside_the_main_thread_nothing_is_stopped() -> None:
    found: list[str] = []

    def work() -> None:
        with deadline(0.01):
            time.sleep(0.05)
            found.append("whole")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["whole"]
