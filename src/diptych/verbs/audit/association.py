"""``audit association``: asked about one of two objects, does a model describe the other?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError
from diptych.verbs import kinds
from diptych.verbs.audit.findings import NAMES, Audit, Findings, class_names
from diptych.verbs.declare import argument, settings
from diptych.verbs.photos import open_labelled, paths_of

if TYPE_CHECKING:
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike


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
        findings, failed = audit_association(
            table, names, [context.model()], context.run(), column=column, method=self.system()
        )  # fmt: skip
        return Association(self, findings, failed, notes)


class Association(Findings):
    """The bias of a model."""

    def tables(self) -> list[str]:
        """Return the score and the sentence."""
        return [f.reason if f.value is None else f"CAB score {f.value:.2f}. {f.says}" for f in self.items]
