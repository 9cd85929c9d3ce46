"""One scheduler of whatever is measured: a budget, time-outs, what does not fit, what fails, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

from diptych.core import DiptychError, MissingEvidence, MissingExtra, MissingHook, MissingPart, Run, UsageError
from diptych.evaluation.kept import Unwritten

J = TypeVar("J")
R = TypeVar("R")

UNFIT = (MissingHook, MissingPart, MissingExtra, MissingEvidence)
"""What a system says that the backbone, the parts or the data do not fit."""


@dataclass(frozen=True)
class Limits:
    """How long work may take.

    Args:
        budget: seconds for all jobs; None: no end.
        timeout: seconds for the jobs of one label together; None: no end.
        began: ``time.monotonic()`` from which the budget counts; None: when the work begins.

    Raises:
        UsageError: a number that is not above 0.
    """

    budget: float | None = None
    timeout: float | None = None
    began: float | None = None

    def __post_init__(self) -> None:
        for name, seconds in (("budget", self.budget), ("timeout", self.timeout)):
            if seconds is not None and not seconds > 0:  # nan is no number of seconds either
                raise UsageError(f"The {name} must be a number of seconds above 0, got {seconds:g}.")

    def left(self, since: float, spent: float) -> tuple[float | None, str]:
        """Return the seconds that a job may take, and what is over after them.

        Args:
            since: seconds since the work began.
            spent: seconds that the jobs of its label took.
        """
        ends = [] if self.budget is None else [(self.budget - since, f"the budget of {self.budget:g} s was spent")]
        if self.timeout is not None:
            ends.append((self.timeout - spent, f"its time-out of {self.timeout:g} s was over"))
        return min(ends, default=(None, ""))


@dataclass
class Worked(Generic[J, R]):
    """What became of the jobs.

    Args:
        missing: label -> why it could not run.
        done: finished jobs, with their results and seconds.
        late: label -> what the budget or a time-out left out.
        interrupted: whether Ctrl-C ended it.
    """

    missing: dict[str, str] = field(default_factory=dict)
    done: list[tuple[J, R, float]] = field(default_factory=list)
    late: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def failure(error: Exception) -> str:
    """Return what a result says of a failure: an error of ours as it is, another one as a bug to report, with the line
    that raised it, since no traceback is shown.
    """
    if isinstance(error, DiptychError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__, -1)
    place = "".join(f" ({Path(frame.filename).name}, line {frame.lineno})" for frame in frames)
    return f"It failed, please report it: {type(error).__name__}: {error}{place}"


def work(
    jobs: Sequence[J],
    measure: Callable[[J], R],
    run: Run,
    *,
    label: Callable[[J], str],
    at: Callable[[J], str] = lambda job: "",
    always: Callable[[J], bool] = lambda job: False,
    stops: Callable[[J], bool] = lambda job: False,
    limits: Limits = Limits(),
    missing: dict[str, str] | None = None,
) -> Worked[J, R]:
    """Measure one job after the other.

    A system that does not fit is left out, a failure costs its job alone, and Ctrl-C leaves what was finished.

    Args:
        jobs: in their order.
        measure: a job -> its result.
        run: progress.
        label: of a job: its row.
        at: where in its row a job stands, such as "4 shots, seed 1"; "" where a job is a whole row.
        always: jobs that no limit stops.
        stops: jobs whose failure is the data's, and raised.
        limits: of the time.
        missing: labels that are not to be run -> why.

    Raises:
        KeyboardInterrupt: before any job was finished.
    """
    worked: Worked[J, R] = Worked(dict(missing or {}))
    began = time.monotonic() if limits.began is None else limits.began
    spent: Counter[str] = Counter()

    def one(job: J) -> None:
        row, place, start = label(job), at(job), time.monotonic()
        seconds, reason = (None, "") if always(job) else limits.left(start - began, spent[row])
        try:
            with deadline(seconds):
                result = measure(job)
            worked.done.append((job, result, time.monotonic() - start))
        except Unwritten:  # the fault of no job, such as a full disk
            raise
        except OutOfTime:
            worked.late.setdefault(row, f"{place} and what follows left out: {reason}." if place else f"{reason}.")
        except UNFIT as error:
            worked.missing[row] = str(error)
        except Exception as error:  # one system's fault must not cost the user the other rows
            if stops(job):
                raise
            worked.missing[f"{row}, {place}" if place else row] = failure(error)
        finally:
            spent[row] += time.monotonic() - start  # type: ignore[assignment]

    try:
        with run.track("rows", len(jobs)) as bar:
            for job in jobs:
                if label(job) not in worked.missing:
                    one(job)
                bar.advance()
    except KeyboardInterrupt:
        if not worked.done:
            raise
        worked.interrupted = True
    return worked


class OutOfTime(BaseException):
    """The seconds are spent. Like KeyboardInterrupt no Exception, so that no system takes it for its own failure."""


@contextlib.contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise ``OutOfTime`` inside the block when the seconds are spent, between two steps of Python: a long step of a
    library ends first.

    Args:
        seconds: from now; None: no end. Outside the main thread, and on systems without interval timers, nothing is
            stopped half-way.

    Raises:
        OutOfTime: the seconds are spent, or are not above 0 to begin with.
    """
    if seconds is not None and seconds <= 0:
        raise OutOfTime
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
