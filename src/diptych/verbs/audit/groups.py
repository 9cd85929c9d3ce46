"""``audit groups``: how much accuracy does a model lose between groups, such as backgrounds?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.ranges import at_least, between, one_of
from diptych.verbs import kinds
from diptych.verbs.answer import Shown
from diptych.verbs.audit.findings import OTHERS, Findings, Grouped, percent
from diptych.verbs.declare import RUN, argument, settings

if TYPE_CHECKING:
    from diptych.core import Backbone, Finding
    from diptych.verbs.context import Context


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
