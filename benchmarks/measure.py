"""A row: contenders that do the same work, checked against each other and then measured in turns."""

from __future__ import annotations

import contextlib
import gc
import io
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Rates = Mapping[str, float]
PAUSE = 0.05
"""Seconds between two contenders: the idle threads of a runtime spin for a moment after their last call."""


@dataclass(frozen=True)
class Target:
    """What a row should reach.

    Args:
        what: is compared, in words.
        value: rates of all contenders, items a second -> the number; KeyError, ValueError or StopIteration where one is
        missing.
        bound: the number should be this.
        least: at least the bound; False: at most.
    """

    what: str
    value: Callable[[Rates], float]
    bound: float
    least: bool = True

    def judge(self, rates: Rates) -> dict[str, Any]:
        """Return the verdict as data; "met" is null where a contender is missing."""
        try:
            value = self.value(rates)
        except (KeyError, ValueError, StopIteration):
            return {"what": self.what, "target": self.bound, "least": self.least, "measured": None, "met": None}
        met = value >= self.bound if self.least else value <= self.bound
        return {"what": self.what, "target": self.bound, "least": self.least, "measured": value, "met": bool(met)}


@dataclass(frozen=True)
class Row:
    """One row of the benchmark.

    Args:
        contenders: name -> one call of the work. The first is what the others are compared with; none where ``facts``
        say all.
        items: of one call.
        unit: what an item is.
        own_items: contenders whose call does another number of items.
        same: result of a call -> vectors (N, D), whose cosines to the first contender's are taken in the first round;
        None
            for a result that is not compared, or in place of the function where none is.
        floors: least cosine by contender, below which it does something else; 0.999 for the others.
        bounds: cosine that a contender should keep, by contender; a miss is written as one.
        facts: counts, sizes and names beside the times.
        missing: contender -> why it does not run.
        targets: what should be reached.
        rounds: at most.
        warm: one round first that does not count.
    """

    contenders: Mapping[str, Callable[[], object]]
    items: int = 1
    unit: str = "items"
    own_items: Mapping[str, int] = field(default_factory=dict)
    same: Callable[[Any], Any] | None = np.asarray
    floors: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    rounds: int = 1000
    warm: bool = True

    def measured(self, rounds: int) -> dict[str, Any]:
        """Run all contenders in turns and return the row as JSON data."""
        taken: dict[str, list[float]] = {name: [] for name in self.contenders}
        results: dict[str, object] = {}
        cosines: dict[str, float] = {}
        for turn in range(-1 if self.warm and self.contenders else 0, min(rounds, self.rounds)):
            for name, action in self.contenders.items():
                gc.collect()
                time.sleep(PAUSE)
                start = time.perf_counter()
                with quiet():
                    result = action()
                spent = time.perf_counter() - start
                if turn >= 0:
                    taken[name].append(spent)
                if not cosines:
                    results[name] = result
            cosines = cosines or self._compared(results)
            results.clear()
        seconds = {name: statistics.median(runs) for name, runs in taken.items()}
        rates = {name: self.own_items.get(name, self.items) / s for name, s in seconds.items()}
        base = next(iter(rates), "")
        kept = [
            Target(f"cosine of {who} to {base}", lambda _, who=who: cosines[who], bound)
            for who, bound in self.bounds.items()
        ]
        shown = {
            name: {
                "seconds": seconds[name], "least_seconds": min(taken[name]), "most_seconds": max(taken[name]),
                "per_second": rates[name],
                "ratio": rates[name] / rates[base], "cosine": cosines.get(name), "runs": taken[name],
            }
            for name in rates
        }  # fmt: skip
        return {
            "unit": self.unit, "items": self.items, "against": base, "rows": shown, "facts": self.facts,
            "missing": dict(self.missing),
            "targets": [target.judge(rates) for target in (*self.targets, *kept)],
        }  # fmt: skip

    def _compared(self, results: Mapping[str, object]) -> dict[str, float]:
        """Return the least cosine of each contender's vectors to the first one's.

        Raises:
            ValueError: a contender computes something else.
        """
        if self.same is None or not results:
            return {}
        taken = {name: self.same(result) for name, result in results.items()}
        vectors = {
            name: np.atleast_2d(np.asarray(rows, dtype=np.float64)) for name, rows in taken.items() if rows is not None
        }
        base = next(iter(vectors.values()))
        collected = {}
        for name, rows in vectors.items():
            if rows.shape != base.shape:
                raise ValueError(f"{name} gives vectors of size {rows.shape} instead of {base.shape}")
            collected[name] = float(
                ((rows * base).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(base, axis=1)).min()
            )
            if not collected[name] >= self.floors.get(name, 0.999):
                raise ValueError(f"{name} computes something else: cosine {collected[name]:.5f}")
        return collected


def gain(of: str, to: str) -> Callable[[Rates], float]:
    """Return the rate of one contender divided by that of another."""
    return lambda rates: rates[of] / rates[to]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out warnings and bars."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def optional(missing: dict[str, str], *names: str) -> Iterator[None]:
    """Note contenders whose library is not installed, or that cannot run here, as missing, with the reason."""
    try:
        with quiet():
            yield
    except ImportError as error:
        missing.update(dict.fromkeys(names, f"{error.name or error} is not installed"))
    except Exception as error:  # a peer refuses with whatever exception comes up
        missing.update(
            dict.fromkeys(
                names, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}"
            )
        )


def peak_mib() -> float:
    """Return the peak memory of this process, which the peak of the process that started it does not raise."""
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux: bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    words = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(words.split()[1]) / 1024


def say(line: str) -> None:
    """Print a remark."""
    sys.stderr.write(line + "\n")
