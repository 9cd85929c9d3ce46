"""Verbs of one subject: a command of several steps, and a function with further functions as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diptych.verbs.declare import Verb


@dataclass(frozen=True)
class Group:
    """Verbs whose names begin alike: ``diptych curate plan`` and ``diptych curate apply``.

    In Python one of them is the function of the group, ``diptych.curate(...)``, and all are its attributes,
    ``diptych.curate.apply(...)``.

    Args:
        name: first word of all names.
        help: of the group.
        verbs: in the order of the help.
        main: step that is the function of the group; "": the first one.
        steps: name -> verb, the last word of each name.
    """

    name: str
    help: str
    verbs: tuple[type[Verb], ...]
    main: str = ""
    steps: Mapping[str, type[Verb]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", {verb.name.rpartition(" ")[2]: verb for verb in self.verbs})
        object.__setattr__(self, "main", self.main or next(iter(self.steps)))
