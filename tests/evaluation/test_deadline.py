from __future__ import annotations

import signal
import threading
import time

import pytest

from diptych.evaluation.deadline import OutOfTime, deadline


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
