"""What decides the numbers of a row, as hashes: the code of its system, and the data that can be read."""

from __future__ import annotations

import hashlib
import inspect
import re
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from diptych.core.errors import UnreadableItem
from diptych.data.labelled import LabelledData
from diptych.evaluation.few_shot.unlabelled import key_of

_IMPORT = re.compile(r"^ *from (diptych\.[\w.]+) import (\([^)]+|.+)", re.MULTILINE)
SHARED = tuple(f"diptych.{room}." for room in ("backbones.towers", "data", "features", "metrics", "nn", "train"))
"""Rooms that systems take code from: losses, heads and loops, the edits and kernels that they put into towers, and the
views, templates and pools that they read. The fingerprint in the row covers the other code of backbones; core holds
interfaces, whose docstrings change more often than what they do.
"""


def code_of(system: type) -> str:
    """Return the hash of the source of a system, of what its module imports from ``SHARED``, at its top or inside a
    function, of what that imports from there, and so on.
    """
    todo, sources = [system.__module__], dict[str, str]()
    while todo:
        name = todo.pop()
        if name not in sources:
            sources[name], taken = _read(name)
            todo += taken
    return hashlib.sha256("".join(sources[name] for name in sorted(sources)).encode()).hexdigest()


def trains_by_steps(system: type) -> bool:
    """Return whether a system's module takes code from ``diptych.train``; closed forms and solvers do not."""
    return any(module.startswith("diptych.train.") for module in _read(system.__module__)[1])


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the source of a module, and the modules of ``SHARED`` that it imports."""
    source, taken = inspect.getsource(import_module(name)), list[str]()
    for module, names in _IMPORT.findall(source):
        if f"{module}.".startswith(SHARED):
            inside = [f"{module}.{word}" for word in re.findall(r"\w+", names)]  # of a package: modules
            package = find_spec(module).submodule_search_locations is not None  # type: ignore[union-attr]
            taken += [name for name in inside if find_spec(name)] if package else [module]
    return source, tuple(taken)


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
