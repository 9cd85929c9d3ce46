"""What an audit reports: measured numbers with their interval, control and examples, or why nothing can be measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diptych.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXAMPLES = 3
"""Examples that a finding has at most."""
SLACK = 1e-6
"""How far float32 may take a value beyond the ends of its range."""


@dataclass(frozen=True)
class Control:
    """A negative control: the same measurement where there is nothing to find.

    Args:
        measure: what was measured, an identifier such as "drop_random_groups".
        value: in the finding's unit.
        interval: (low, high), 95 %.
        expected: the value where there is nothing to find; the interval must hold it.
        above: whether only a value above ``expected`` would be a find, such as a gain; a control that loses is held.

    Example:
        >>> Control("drop_random_groups", -0.01, (-0.2, 0.18)).held
        True
    """

    measure: str
    value: float
    interval: tuple[float, float]
    expected: float = 0.0
    above: bool = False

    @property
    def title(self) -> str:
        """Return the measure in words, for tables."""
        return self.measure.replace("_", " ")

    @property
    def held(self) -> bool:
        """Whether the control found nothing, as it must."""
        return self.interval[0] <= self.expected and (self.above or self.expected <= self.interval[1])

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "measure": self.measure,
            "value": self.value,
            "interval": self.interval,
            "expected": self.expected,
            "held": self.held,
        }


@dataclass(frozen=True)
class Example:
    """One item that shows a finding.

    Args:
        probe: name of the table with the item.
        key: content key of the item, see ``Samples.key``.
        note: what it shows, in a few words, such as "dog, taken for a wolf"; "" where the picture says it.
    """

    probe: str
    key: str
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One measured effect of an audit, or the verdict that it cannot be tested.

    Args:
        subject: the model it is about, as the caller named it.
        measure: what was measured, an identifier such as "drop".
        value: the effect, in ``unit``; None: not testable, and ``reason`` says why.
        interval: (low, high), 95 %; None where there is none.
        about: part of the data that it is about, such as a class name; "" is the whole.
        details: plain data behind the number.
        unit: "fraction" (shown in percent), or the name of another unit, such as "nats" or "slope".
        range: the lowest and the highest possible value.
        count: units that were measured; None where they are not counted.
        counted: what these units are: "items", "classes", "pairs", "models".
        control: the same measurement where there is nothing to find.
        examples: up to three items.
        reason: why it is not testable, one sentence; "" where there is a value.
        says: the finding in one plain sentence; "" leaves the wording to whoever shows it.
        advice: what to do about it, one sentence.
        harm: share of items that it takes, at least, by the end of the interval that is nearer to none; in [0, 1].
            Reports begin with the largest. 0: it is for information.
        units: (count,) values of the measured units, whose mean is the effect, in their order; None where the effect is
            no such mean. By them two models are compared pair by pair, see ``evaluation.boards.audit``.
        joined: (count, 2) positions of the two items that each unit joins, where units share items; None where they
            share none. Intervals are then over items, see ``metrics.pair_mean``.

    Raises:
        UsageError: there is both a value and a reason, or neither; the value is outside its range; the interval is
            turned round; or there are more than three examples.

    Example:
        >>> Finding("lite", "drop", 0.2, (0.1, 0.3), count=7, counted="classes").testable
        True
        >>> Finding.not_testable("lite", "drop", "Accuracy is at chance.").value is None
        True
    """

    subject: str
    measure: str
    value: float | None
    interval: tuple[float, float] | None = None
    about: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    unit: str = "fraction"
    range: tuple[float, float] = (-1.0, 1.0)
    count: int | None = None
    counted: str = "items"
    control: Control | None = None
    examples: tuple[Example, ...] = ()
    reason: str = ""
    says: str = ""
    advice: str = ""
    harm: float = 0.0
    units: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    joined: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.reason):
            raise UsageError(
                f"{self._named} must have a value, or a reason why it is not testable, got {self.value!r} and "
                f"{self.reason!r}."
            )
        low, high = self.range
        if self.value is not None and not low - SLACK <= self.value <= high + SLACK:
            raise UsageError(f"{self._named} must be in [{low:g}, {high:g}], got {self.value:g}.")
        if self.interval is not None and not self.interval[0] <= self.interval[1]:
            raise UsageError(f"The interval of {self._named} must be (low, high), got {self.interval}.")
        if len(self.examples) > EXAMPLES:
            raise UsageError(f"{self._named} takes at most {EXAMPLES} examples, got {len(self.examples)}.")
        if not 0 <= self.harm <= 1:
            raise UsageError(f"The harm of {self._named} must be in [0, 1], got {self.harm:g}.")

    @classmethod
    def not_testable(
        cls,
        subject: str,
        measure: str,
        reason: str,
        *,
        about: str = "",
        count: int | None = None,
        counted: str = "items",
    ) -> Finding:
        """Return the verdict that a measure says nothing here, such as where accuracy is at chance.

        Args:
            subject: the model.
            measure: what could not be measured.
            reason: one sentence with the number that is too low.
            about: part of the data.
            count: units that there are.
            counted: what these units are.
        """
        return cls(subject, measure, None, about=about, reason=reason, count=count, counted=counted)

    @property
    def testable(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @property
    def title(self) -> str:
        """Return the measure in words, for tables."""
        return self.measure.replace("_", " ")

    @property
    def _named(self) -> str:
        return f"The finding {self.measure!r} about {self.about or self.subject!r}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without the units; ends of an interval that are infinite become None."""
        ends = self.interval and tuple(e if math.isfinite(e) else None for e in self.interval)
        return {
            "subject": self.subject,
            "measure": self.measure,
            "title": self.title,
            "about": self.about,
            "testable": self.testable,
            "value": self.value,
            "interval": ends,
            "unit": self.unit,
            "range": [e if math.isfinite(e) else None for e in self.range],
            "count": self.count,
            "counted": self.counted,
            "control": self.control.as_dict() if self.control else None,
            "examples": [vars(e) for e in self.examples],
            "reason": self.reason,
            "says": self.says,
            "advice": self.advice,
            "harm": self.harm,
            "details": dict(self.details),
        }
