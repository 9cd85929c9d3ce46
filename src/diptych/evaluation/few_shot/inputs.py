"""What decides the numbers of a row, as hashes: the code of its system, and the data that can be read."""

from __future__ import annotations

import hashlib
import inspect
import sys
from dataclasses import replace
from functools import cache

from diptych.core.errors import UnreadableItem
from diptych.data.labelled import LabelledData
from diptych.evaluation.few_shot.unlabelled import key_of

SHARED = ("diptych.features.", "diptych.nn.", "diptych.metrics.", "diptych.train.")
"""Where systems keep what they share."""


@cache
def code_of(system: type) -> str:
    """Return the hash of the source of a system, of what its module takes from ``SHARED``, of what that takes from
    there, and so on.
    """
    todo, sources = [system.__module__], dict[str, str]()
    while todo:
        name = todo.pop()
        if name not in sources:
            sources[name] = inspect.getsource(sys.modules[name])
            taken = {getattr(v, "__module__", None) or "" for v in vars(sys.modules[name]).values()}
            todo += [m for m in taken if m.startswith(SHARED) and m in sys.modules]
    return hashlib.sha256("".join(sources[name] for name in sorted(sources)).encode()).hexdigest()


def readable_hash(data: LabelledData) -> str:
    """Return the hash of what can be read: a table may name files that are not there."""
    try:
        return data.hash
    except UnreadableItem:
        splits = {
            name: table.take([i for i in range(len(table)) if key_of(table.items, i)])
            for name, table in data.splits.items()
        }
        return replace(data, splits=splits).hash
