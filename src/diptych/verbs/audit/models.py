"""``audit robustness`` and ``audit shortcuts``: one system, any models, the same pictures; and their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.verbs import kinds
from diptych.verbs.answer import Answer, Shown
from diptych.verbs.arguments import NAMES, argument, settings
from diptych.verbs.audit.findings import AGAINST, OTHERS, SEED, Audit, Findings, class_names, control_of
from diptych.verbs.kinds import Kind
from diptych.verbs.photos import open_labelled

if TYPE_CHECKING:
    from diptych.core import AuditData, Backbone, Finding, Run, UnreadableItem
    from diptych.data.format import Need
    from diptych.data.keys import FileKeys
    from diptych.data.labelled import LabelledData
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike


def tables(argument: str) -> Kind:
    """Return the kind of further tables by their names: lines NAME=DATA, or in Python a dictionary."""

    def read(given: Any) -> dict[str, Any]:
        if isinstance(given, Mapping):
            return dict(given)
        read: dict[str, Any] = {}
        for text in (given,) if isinstance(given, str) else given or ():
            name, equals, path = text.partition("=")
            name, path = (name, path) if equals else (Path(text).name, text)
            if not name or not path or name in read:
                raise UsageError(f"{{{argument}}} takes NAME=DATA with a new name each time, got {text!r}.")
            read[name] = path
        return read

    return Kind(list[str] | None, None, read)


@dataclass(frozen=True)
class Opened:
    """Opened data sets.

    Args:
        data: the user's; ``shifts``, ``others``, ``cues``: name -> further data.
    """

    data: LabelledData
    shifts: Mapping[str, LabelledData]
    others: Mapping[str, LabelledData]
    cues: Mapping[str, LabelledData]

    def gathered(self, names: NamesLike, backbone: Backbone, run: Run) -> tuple[AuditData, tuple[UnreadableItem, ...]]:
        """Return the tables with the items that a backbone can read, and what was left out."""
        from diptych.tasks.audit.data import gathered

        spoken = class_names(names, self.data)[0].names if self.data.classes else ()
        return gathered(self.data, spoken, backbone, run, shifts=self.shifts, others=self.others, cues=self.cues)


@dataclass(frozen=True, kw_only=True)
class Compared(Audit):
    """An audit of one model or several on the same pictures."""

    name: ClassVar[str] = "audit"

    data: Any = argument(
        "A folder of classes, or a table with classes or captions; test, and optionally train.",
        kinds.TABLE,
        positional=True,
    )
    against: str | Backbone | Sequence[str | Backbone] = argument(AGAINST, OTHERS, (), panel="Model")
    names: NamesLike = argument(NAMES, kinds.NAMES, None)
    label: str = argument("Column with the classes.", default="", panel="Data")
    seed: int = argument(SEED, default=0)

    def opened(self, keys: FileKeys | None) -> Opened:
        """Open the data and the further tables; nothing is encoded.

        Raises:
            UsageError: two tables have one name.
            DataError: a table lacks what it is for.
        """
        from diptych.data.cues import read_cues

        group, label = getattr(self, "group", ""), self.label
        need: Need = "groups" if group else "captions or classes"
        shift, ood, cues = (getattr(self, name, None) or {} for name in ("shift", "ood", "cues"))
        return Opened(
            open_labelled(self.data, need, keys, group=group, label=label),
            {n: open_labelled(d, "any", keys, label=label) for n, d in shift.items()},
            {n: open_labelled(d, "photos", keys) for n, d in ood.items()},
            {n: read_cues(d, keys) for n, d in cues.items()},
        )

    def noted(self, opened: Opened) -> list[str]:
        """Return a remark where class names are numbers."""
        return class_names(self.names, opened.data)[1] if opened.data.classes else []

    def run(self, context: Context) -> Answer[Any]:
        """Audit the models."""
        from diptych.tasks.audit.models import audit_models

        system, opened = self.system(), self.opened(context.keys)
        self.free(context)
        models = self.models(context, self.against)
        data, failed = opened.gathered(self.names, models[0], context.run())
        findings, facts = audit_models(system, models, data, context.run()), {"audit": system.card.slug}
        return Compares(self, findings, failed, self.noted(opened), data=opened.data.name, **facts, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class Tabled(Compared):
    """The same, with further tables."""

    name: ClassVar[str] = "audit"

    shift: str | Sequence[str] | Mapping[str, Any] = argument(
        "Pictures of the same classes, elsewhere: NAME=DATA; repeat.", tables("shift"), (), panel="Data"
    )
    ood: str | Sequence[str] | Mapping[str, Any] = argument(
        "Pictures of none of the classes: NAME=DATA; repeat.", tables("ood"), (), panel="Data"
    )
    cues: str | Sequence[str] | Mapping[str, Any] = argument(
        "Pictures with shape and texture of two classes: NAME=DATA; repeat.", tables("cues"), (), panel="Data"
    )
    group: str = argument("Column with groups, such as domain; all splits are one then.", default="", panel="Data")


@dataclass(frozen=True, kw_only=True)
class AuditRobustness(Tabled):
    """Measure a model along independent axes: visual factors, shifts, shape bias, calibration, unknown objects."""

    name: ClassVar[str] = "audit robustness"
    examples: ClassVar[tuple[str, ...]] = (
        "audit robustness products/ --shift night=night/",
        "audit robustness products/ --factor darker --factor texture",
    )

    factors: str | Sequence[str] = argument(
        "A visual factor, such as darker; repeat (default: all).", kinds.TEXTS, (), flag="--factor"
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings()

    def defaults(self) -> Mapping[str, Any]:
        """Return the factors, where there are some."""
        return {"factors": self.factors} if self.factors else {}


@dataclass(frozen=True, kw_only=True)
class AuditShortcuts(Compared):
    """Plant a mark that correlates with the label, and measure how much heads on a model's features rely on it."""

    name: ClassVar[str] = "audit shortcuts"
    examples: ClassVar[tuple[str, ...]] = (
        "audit shortcuts products/",
        "audit shortcuts products/ --opacity 0.1 --opacity 1 --out shortcuts.json",
    )

    share: float | None = argument("Share of training pictures whose mark agrees with the label.", default=None)
    opacities: float | Sequence[float] = argument(
        "Opacity of the mark, such as 0.3; repeat.",
        Kind(list[float] | None, None, lambda v: (v,) if isinstance(v, (int, float)) else tuple(v or ())), (),
        flag="--opacity",
    )  # fmt: skip
    draws: int | None = argument("Trainings of each head and opacity.", default=None)
    settings: Mapping[str, Any] | Sequence[str] | None = settings()

    def defaults(self) -> Mapping[str, Any]:
        """Return what is given."""
        given = {"shortcut": self.share, "opacities": self.opacities or None, "draws": self.draws}
        return {name: value for name, value in given.items() if value is not None}


class Compares(Findings):
    """Findings about each model."""

    def tables(self) -> list[Shown]:
        """Return a table for each model."""
        return [
            Shown(
                ("measure", "value, 95 % interval", "control", "items"),
                [self._row(f) for f in self.items if f.subject == subject and f.testable], (3,), subject,
            )
            for subject in self.subjects
        ]  # fmt: skip

    def remarks(self, items: Sequence[Finding]) -> list[str]:
        """Return how much about each model is not testable."""
        silent = {s: [f for f in self.items if f.subject == s and not f.testable] for s in self.subjects}
        return [
            *self.noted,
            *(
                f"{s}: {len(names)} measures are not testable here, such as {self.name(names[0])}: {names[0].reason}"
                for s, names in silent.items()
                if names
            ),
        ]

    def _row(self, f: Finding) -> tuple[str, ...]:
        from diptych.tasks.audit.report_page import number

        return self.name(f), number(f), control_of(f), str(f.count or "")
