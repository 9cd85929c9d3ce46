"""The tables of ``board audit``, which are those of ``audit report``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from diptych.cli import flag_values, options
from diptych.cli.console import say
from diptych.cli.declared import option_of
from diptych.verbs.audit.findings import class_names
from diptych.verbs.audit.models import Opened
from diptych.verbs.audit.report import AuditReport

if TYPE_CHECKING:
    from diptych.core import AuditData, Backbone, Run, UnreadableItem
    from diptych.verbs.names import NamesLike


class Given(Opened):
    """Opened data sets; class names that are numbers are remarked on."""

    def gathered(self, names: NamesLike, backbone: Backbone, run: Run) -> tuple[AuditData, tuple[UnreadableItem, ...]]:
        """Return the tables with the items that a backbone can read, and what was left out."""
        for remark in class_names(names, self.own)[1] if self.own.classes else ():
            say(flag_values.with_flags(remark))
        return super().gathered(names, backbone, run)


@dataclass(frozen=True)
class MoreTables:
    """Tables beside the user's pictures, and columns of these."""

    shift: Annotated[list[str] | None, option_of(AuditReport, "shift")] = None
    ood: Annotated[list[str] | None, option_of(AuditReport, "ood")] = None
    cues: Annotated[list[str] | None, option_of(AuditReport, "cues")] = None
    group: Annotated[str, option_of(AuditReport, "group")] = ""
    label: Annotated[str, option_of(AuditReport, "label")] = ""

    def open(self, data: str, opened: options.Opened) -> Given:
        """Open the data and the further tables; nothing is encoded.

        Raises:
            UsageError: two tables have one name.
            DataError: a table lacks what it is for.
        """
        return Given(**vars(AuditReport.made("command", data=data, **vars(self)).opened(opened.keys)))
