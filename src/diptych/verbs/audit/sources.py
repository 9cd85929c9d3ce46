"""``audit sources``: which source of training pictures is better, and is a mixture of them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.verbs import kinds
from diptych.verbs.answer import Shown
from diptych.verbs.audit.findings import Findings, Grouped, control_of, percent
from diptych.verbs.declare import argument, settings

if TYPE_CHECKING:
    from diptych.core import Finding
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class AuditSources(Grouped):
    """Train heads on each source and on mixtures, and compare them at equal accuracy."""

    name: ClassVar[str] = "audit sources"
    examples: ClassVar[tuple[str, ...]] = (
        "audit sources labels.csv --group domain",
        "audit sources labels.csv --group domain --source cartoon --source sketch",
    )

    sources: str | Sequence[str] = argument(
        "A group; repeat it. The first is the reference (default: all groups).", kinds.TEXTS, (), flag="--source"
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings()

    def run(self, context: Context) -> Sources:
        """Train heads, and compare them."""
        from diptych.tasks.audit.sources import audit_sources

        data, names, notes = self.opened(context)
        findings, failed = audit_sources(
            data.whole(), names, context.model(), context.run(), sources=tuple(self.sources), method=self.system()
        )
        return Sources(self, findings, failed, notes, data=data.name, seed=self.seed)


class Sources(Findings):
    """Lines of each source and mixture, on each shift."""

    def line(self, item: Finding) -> str:
        """Return the value, and which shift it is about."""
        line = _value(item) if item.testable else f"not testable: {item.reason}"
        return f"{_source(item)} on {item.about}: {line}"

    def tables(self) -> list[Shown]:
        """Return a table for each shift."""
        return [
            Shown(
                ("source", "measure", "value, 95 % interval", "control"),
                [(_source(f), f.title, _value(f), _held(f)) for f in self.items if f.about == shift and f.testable],
                (2,), f"on {shift}",
            )
            for shift in dict.fromkeys(f.about for f in self.items)
        ]  # fmt: skip

    def remarks(self, items: Sequence[Finding]) -> list[str]:
        """Return what is not testable, and why."""
        silent = [f"{_source(f)}: {f.title} is not testable. {f.reason}" for f in self.items if not f.testable]
        return [*self.noted, *silent]


def _source(f: Finding) -> str:
    return f.subject.removeprefix("source=")


def _value(f: Finding) -> str:
    if f.unit != "slope":
        return f"{percent(f)} points"
    value = f.value or 0.0
    low, high = f.interval or (value, value)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _held(f: Finding) -> str:
    return "not measured: too few models" if f.control is None and "without_control" in f.details else control_of(f)
