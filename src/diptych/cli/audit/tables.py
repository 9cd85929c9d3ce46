"""The tables of an audit, as the command line names them: of ``audit report`` and ``board audit``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from diptych.cli import flag_values, options
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.core import AuditData, Backbone, Run, UnreadableItem
    from diptych.data.format import Need
    from diptych.data.labelled import LabelledData

_tables = {"rich_help_panel": "Data"}


@dataclass(frozen=True)
class Given:
    """Opened data sets.

    Args:
        own: the user's data; ``shifts``, ``others``, ``cues``: name -> further data.
    """

    own: LabelledData
    shifts: Mapping[str, LabelledData]
    others: Mapping[str, LabelledData]
    cues: Mapping[str, LabelledData]

    def gathered(self, names: str | None, backbone: Backbone, run: Run) -> tuple[AuditData, tuple[UnreadableItem, ...]]:
        """Return the tables with the items that a backbone can read, and what was left out."""
        from diptych.tasks.audit.data import gathered

        spoken = flag_values.class_names(names, self.own.classes) if self.own.classes else ()
        return gathered(self.own, spoken, backbone, run, shifts=self.shifts, others=self.others, cues=self.cues)


@dataclass(frozen=True)
class MoreTables:
    """Tables beside the own pictures, and columns of these."""

    shift: Annotated[
        list[str] | None,
        options.option("--shift", help="Pictures of the same classes, elsewhere: NAME=DATA; repeat.", **_tables),
    ] = None
    ood: Annotated[
        list[str] | None, options.option("--ood", help="Pictures of none of the classes: NAME=DATA; repeat.", **_tables)
    ] = None
    cues: Annotated[
        list[str] | None,
        options.option("--cues", help="Pictures with shape and texture of two classes: NAME=DATA; repeat.", **_tables),
    ] = None
    group: Annotated[
        str, options.option("--group", help="Column with groups, such as domain; all splits are one then.", **_tables)
    ] = ""
    label: Annotated[str, options.option("--label", help="Column with the classes.", **_tables)] = ""

    def open(self, data: str, opened: options.Opened) -> Given:
        """Open the data and the further tables; nothing is encoded.

        Raises:
            UsageError: two tables have one name.
            DataError: a table lacks what it is for.
        """
        from diptych.data.cues import read_cues
        from diptych.data.load import open_data

        need: Need = "groups" if self.group else "captions or classes"
        return Given(
            open_data(data, opened.keys, need=need, group=self.group, label=self.label),
            {n: open_data(p, opened.keys, label=self.label) for n, p in _named(self.shift, "--shift").items()},
            {n: open_data(p, opened.keys, need="photos") for n, p in _named(self.ood, "--ood").items()},
            {n: read_cues(p, opened.keys) for n, p in _named(self.cues, "--cues").items()},
        )


def _named(given: list[str] | None, flag: str) -> dict[str, str]:
    """Return name -> data of NAME=DATA; a path alone is named by its last part.

    Raises:
        UsageError: one name occurs twice.
    """
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, path = text.partition("=")
        name, path = (name, path) if equals else (Path(text).name, text)
        if not name or not path or name in found:
            raise UsageError(f"{flag} takes NAME=DATA with a new name each time, got {text!r}.")
        found[name] = path
    return found
