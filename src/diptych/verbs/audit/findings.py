"""What the audits of models share: their data and system, and an answer of findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.wording import number_of
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import NAMES, argument
from diptych.verbs.declare import RUN, Verb
from diptych.verbs.photos import open_labelled

if TYPE_CHECKING:
    from diptych.core import Backbone, ClassNames, Control, Finding, UnreadableItem
    from diptych.data.labelled import LabelledData
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike

OTHERS = kinds.Kind(
    list[str] | None,
    None,
    lambda value: tuple(value) if isinstance(value, (list, tuple)) else (value,) if value else (),
)
"""Further models: names, and in Python also loaded ones."""
AGAINST = "Another model to compare with; repeat."
SEED = "Seed of halves and controls."


@dataclass(frozen=True, kw_only=True)
class Audit(Verb):
    """A step: one system, which is the same whatever the data, and one file where it is asked for."""

    name: ClassVar[str] = "audit"
    item: ClassVar[str] = "Finding"
    role: ClassVar[str] = "diptych.core.audit:Auditor"
    report: ClassVar[str] = "Also write a .json file."
    out_help: ClassVar[str] = report
    python_out: ClassVar[Any] = "name"
    trains: ClassVar[bool] = False
    offers: ClassVar[tuple[str, ...]] = (*RUN, "batch", "workers")
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def slug(self) -> str:
        """Return the system of the step."""
        return DEFAULTS[self.name]

    def chooses(self) -> bool:
        """Return True: the system of the step is checked, though none is named."""
        return True

    def check_report(self, path: Path) -> None:
        """Refuse files of other kinds."""
        if path.suffix not in self.suffixes:
            *some, last = self.suffixes
            raise UsageError(f"{{out}} writes {', '.join(some)}{' or ' if some else ''}{last}, not {path.name!r}.")

    def free(self, context: Context) -> None:
        """Refuse a file of another kind, or of an earlier call."""
        if context.out is not None:
            self.check_report(context.out)
        context.free("")

    def models(self, context: Context, others: Any) -> list[Backbone]:
        """Return the model, and those that it is compared with."""
        return [
            context.model(),
            *(context.model(other) for other in dict.fromkeys(others) if other != context.backbone),
        ]


def class_names(names: NamesLike, data: LabelledData) -> tuple[ClassNames, list[str]]:
    """Return the class names, and a remark where they are numbers."""
    from diptych.data.words.classnames import unreadable_names
    from diptych.data.words.templates import SINGLE
    from diptych.verbs.names import names_of

    numbers = unreadable_names(data.classes) if names is None else ""
    return names_of(names, data.classes, SINGLE), [numbers] if numbers else []


@dataclass(frozen=True, kw_only=True)
class Grouped(Audit):
    """A step that reads pictures with classes and groups."""

    name: ClassVar[str] = "audit"

    data: Any = argument("A table, a folder with labels.csv, or folders CLASS/GROUP.", kinds.TABLE, positional=True)
    group: str = argument("Column with the groups, such as domain.", default="")
    label: str = argument("Column with the classes (default: class_name, class or label).", default="")
    names: NamesLike = argument(NAMES, kinds.NAMES, None)
    seed: int = argument(SEED, default=0)

    def opened(self, context: Context) -> tuple[LabelledData, ClassNames, list[str]]:
        """Open the data; return them with their class names, and remarks."""
        data = open_labelled(self.data, "groups", context.keys, group=self.group, label=self.label)
        names, notes = class_names(self.names, data)
        self.free(context)
        return data, names, notes


class Audited(Answer[Any]):
    """What an audit gives: rows in one list of plain data, with facts before them, and one file."""

    listed = False

    def __init__(self, verb: Audit, items: Sequence[Any], failed: Sequence[UnreadableItem], **facts: Any) -> None:
        super().__init__(iter(items))
        self.verb, self.items, self.about = verb, tuple(items), facts
        self.failed += failed

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return facts, rows, skipped items and remarks; settings where there are some."""
        rest = {"skipped": [e.as_dict() for e in self.failed], "remarks": list(remarks)}
        return {**self.about, self.rows_key: list(rows), **rest, **self.settings()}

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain data, where there are some."""
        given = self.verb.given_settings()
        return {"settings": given} if given else {}

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the file where a call names one."""
        return self.report(folder, data, overwrite=overwrite)


class Findings(Audited):
    """Findings about one model or several."""

    rows_key = "findings"
    item_kind = "measure"

    def __init__(
        self, verb: Audit, findings: Sequence[Finding], failed: Sequence[UnreadableItem], notes: Sequence[str] = (),
        **facts: Any,
    ) -> None:  # fmt: skip
        super().__init__(verb, findings, failed, **facts)
        self.subjects, self.noted = tuple(dict.fromkeys(f.subject for f in findings)), list(notes)

    def title(self, items: Sequence[Finding]) -> str:
        """Return how many findings there are, and about which models."""
        return f"{number_of(len(items), 'finding')} about {', '.join(self.subjects)}"

    def name(self, item: Finding) -> str:
        """Return what was measured."""
        from diptych.tasks.audit.report_page import named

        return named(item)

    def line(self, item: Finding) -> str:
        """Return the value and the sentence, or why there is none; and the model where there are several."""
        from diptych.tasks.audit.report_page import number

        line = f"{number(item)}  {item.says}".rstrip() if item.testable else f"not testable: {item.reason}"
        return f"{item.subject}: {line}" if len(self.subjects) > 1 else line

    def label(self, item: Finding) -> str:
        """Return the finding in one sentence."""
        return item.says or item.reason or item.title

    def columns(self, items: Sequence[Finding]) -> dict[str, list[Any]]:
        """Return models, values before their intervals, controls and sentences."""
        ends = [f.interval or (None, None) for f in items]
        plain = {name: [getattr(f, name) for f in items] for name in ("subject", "about", "unit", "count", "value")}
        control = [None if f.control is None else f.control.held for f in items]
        low, high = [[end[k] for end in ends] for k in (0, 1)]
        return {**plain, "low": low, "high": high, "control_held": control, "label": [self.label(f) for f in items]}

    def remarks(self, items: Sequence[Finding]) -> list[str]:
        """Return what was noted on the way."""
        return self.noted


def control_of(f: Finding) -> str:
    """Return what the control of a finding found, in a few words."""
    return "" if f.control is None else "held" if f.control.held else "found something too"


def percent(f: Finding | Control, digits: int = 1) -> str:
    """Return a value in percent, with its interval."""
    ends = "" if f.interval is None else " [" + ", ".join(f"{100 * end:.{digits}f}" for end in f.interval) + "]"
    return f"{100 * (f.value or 0.0):.{digits}f}{ends}"
