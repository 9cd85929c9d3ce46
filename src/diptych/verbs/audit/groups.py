"""Audits of labelled tables with a further column: ``audit groups``, ``audit sources`` and ``audit association``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError
from diptych.core.ranges import at_least, between, one_of
from diptych.verbs import kinds
from diptych.verbs.answer import Shown
from diptych.verbs.arguments import NAMES, argument, settings
from diptych.verbs.audit.findings import OTHERS, Audit, Findings, Grouped, class_names, control_of, percent
from diptych.verbs.declare import RUN
from diptych.verbs.photos import open_labelled, paths_of

if TYPE_CHECKING:
    from diptych.core import Backbone, Finding
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike


@dataclass(frozen=True, kw_only=True)
class AuditGroups(Grouped):
    """Find the two groups of each class between which accuracy drops most, and measure the drop on other photos."""

    name: ClassVar[str] = "audit groups"
    examples: ClassVar[tuple[str, ...]] = (
        "audit groups animals/",
        "audit groups labels.csv --group domain --out audit.json",
    )
    offers: ClassVar[tuple[str, ...]] = (*(name for name in RUN if name != "backbone"), "batch", "workers")

    gap: float = argument(
        "Accuracies of the two groups must differ by more than this.", default=0.05, range=between(0, 1, "[)")
    )
    least: int = argument("Least number of items of a class in each group and half.", default=5, range=at_least(1))
    selection: str = argument(
        "half: select groups on half of the items and measure on the others; all: both on all.", default="half",
        range=one_of("half", "all"),
    )  # fmt: skip
    backbone: Sequence[str] = argument(
        "Repeat for several; the first selects the groups.", kinds.TEXTS, (), flag="--backbone", short="-b",
        panel="Model", faces=("command",),
    )  # fmt: skip
    against: str | Backbone | Sequence[str | Backbone] = argument(
        "Further models, measured between the groups that the first one selects.", OTHERS, (), faces=("python",)
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings()

    def defaults(self) -> Mapping[str, Any]:
        """Return how groups are selected."""
        return {"gap": self.gap, "least": self.least, "selection": self.selection}

    def run(self, context: Context) -> Groups:
        """Measure the drop of each model."""
        from diptych.tasks.audit.groups import audit_groups

        system = self.system()
        data, names, notes = self.opened(context)
        given = [context.model(name) for name in dict.fromkeys(self.backbone)]
        models = given or self.models(context, self.against)
        findings, failed = audit_groups(
            data.whole(), replace(names, templates=(system.prompt,)), models, context.run(), method=system
        )
        facts = {name: getattr(system, name) for name in ("gap", "least", "selection")}
        return Groups(
            self, findings, failed, notes, data=data.name, reference=models[0].spec.name, **facts, seed=self.seed
        )


class Groups(Findings):
    """The drop of each model, over all classes and for each of them."""

    def tables(self) -> list[Shown]:
        """Return two tables for each model: over all classes with the control, and class by class."""
        return [
            table for subject in self.subjects for table in _tables([f for f in self.items if f.subject == subject])
        ]


def _tables(findings: Sequence[Finding]) -> list[Shown]:
    whole, classes = [f for f in findings if not f.about], [f for f in findings if f.about]
    drop = next(f for f in whole if f.measure == "drop")
    control = [] if drop.control is None else [(drop.control.title, percent(drop.control))]
    role = ", which selected the groups" if drop.details["reference"] else ""
    rows = [
        (f.about, *(_group(f, name) for name in ("common", "counter")), percent(f))
        for f in sorted(classes, key=lambda f: -(f.value or 0.0))
    ]
    title = f"{drop.subject}{role}: {drop.details['classes']} classes have two groups that differ"
    return [
        Shown(("", "points, 95 % interval"), [*((f.title, percent(f)) for f in whole), *control], (1,), title),
        Shown(("class", "easy", "hard", "drop"), rows, (3,)),
    ]


def _group(f: Finding, name: str) -> str:
    return f"{', '.join(f.details[name])} {100 * f.details[f'{name}_accuracy']:.0f}"


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
        """Return what is not testable, where, and why: once for all shifts of one reason."""
        silent: dict[tuple[str, str, str], list[str]] = {}
        for f in self.items:
            if not f.testable:
                silent.setdefault((_source(f), f.title, f.reason), []).append(f.about)
        lines = [
            f"{source} on {', '.join(shifts)}: {title} is not testable. {reason}"
            for (source, title, reason), shifts in silent.items()
        ]
        return [*self.noted, *lines]


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


@dataclass(frozen=True, kw_only=True)
class AuditAssociation(Audit):
    """Put pictures of two objects side by side, and ask for the attribute of one."""

    name: ClassVar[str] = "audit association"
    examples: ClassVar[tuple[str, ...]] = (
        "audit association fruits/labels.csv --attribute color",
        "audit association fruits/labels.csv --attribute color --out association.json",
    )

    data: Any = argument("A table, or a folder with labels.csv: one object per picture.", kinds.TABLE, positional=True)
    attribute: str = argument("Column with the attribute, such as color.")
    label: str = argument("Column with the classes.", default="")
    names: NamesLike = argument(NAMES, kinds.NAMES, None)
    template: str = argument("Question with {object} and {value} (default: about the color).", default="")
    seed: int = argument("Seed of the pairs.", default=0)
    settings: Mapping[str, Any] | Sequence[str] | None = settings()

    def defaults(self) -> Mapping[str, Any]:
        """Return the question, where there is one."""
        return {"template": self.template} if self.template else {}

    def run(self, context: Context) -> Association:
        """Ask."""
        from diptych.tasks.audit.models import audit_association

        path = paths_of(self.data) is not None
        columns = {"group": self.attribute} if path else {}
        data = open_labelled(self.data, "groups", context.keys, label=self.label, **columns)
        table, column = data.whole(), "group" if path else self.attribute
        if not path and column not in table.columns:
            there = ", ".join(table.columns) or "none"
            raise DataError(f"These data have no column {column!r}, only {there}: give another {{attribute}}.")
        names, notes = class_names(self.names, data)
        self.free(context)
        system = self.system()
        findings, failed = audit_association(
            table, names, [context.model()], context.run(), column=column, method=system
        )
        asked = str(system.template).replace("{object}", "OBJECT").replace("{value}", "VALUE")
        if "color" in asked and "colo" not in self.attribute.lower() and path:
            notes.append(
                f"The question was {asked!r}, and the attribute is {self.attribute!r}: ask about it with {{template}}."
            )
        return Association(self, findings, failed, notes)


class Association(Findings):
    """The bias of a model."""

    def tables(self) -> list[str]:
        """Return the score and the sentence."""
        return [f.reason if f.value is None else f"CAB score {f.value:.2f}. {f.says}" for f in self.items]
