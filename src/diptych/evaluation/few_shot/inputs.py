"""What decides the numbers of a row, as hashes: the code of its system, and the data that can be read."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from diptych.core import Method, UnreadableItem
from diptych.data.labelled import LabelledData
from diptych.evaluation.few_shot.unlabelled import key_of

SHARED = tuple(f"diptych.{room}." for room in ("backbones.towers", "data", "features", "metrics", "nn", "train"))
"""Rooms that systems take code from: losses, heads and loops, the edits and kernels that they put into towers, and the
views, templates and pools that they read. The fingerprint in the row covers the other code of backbones; core holds
interfaces.
"""


def code_of(system: type) -> str:
    """Return the hash of the statements of a system, of what its module imports from ``SHARED``, at its top or inside a
    function, of what that imports from there, and so on, and of the settings of the rows of its card.

    Comments, docstrings and the rest of the card change no number, so they do not count.
    """
    todo, statements = [system.__module__], dict[str, str]()
    while todo:
        name = todo.pop()
        if name not in statements:
            statements[name], taken = _read(name)
            todo += taken
    rows = dict(system.card.variants) if issubclass(system, Method) else {}
    code = [*(statements[name] for name in sorted(statements)), json.dumps(rows, sort_keys=True, default=repr)]
    return hashlib.sha256("".join(code).encode()).hexdigest()


def trains_by_steps(system: type) -> bool:
    """Return whether a system's module takes code from ``diptych.train``; closed forms and solvers do not."""
    return any(module.startswith("diptych.train.") for module in _read(system.__module__)[1])


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a module's statements, and the modules of ``SHARED`` that it imports."""
    tree, taken = Statements().visit(ast.parse(inspect.getsource(import_module(name)))), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(SHARED):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]  # of a package: modules
            package = find_spec(str(node.module)).submodule_search_locations is not None  # type: ignore[union-attr]
            taken += [name for name in inside if find_spec(name)] if package else [str(node.module)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(taken)


class Statements(ast.NodeTransformer):
    """Leaves out what does nothing: docstrings, also those of attributes, and the card in a class body."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Drop a string that stands alone."""
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Drop the card."""
        node.body = [line for line in node.body if "card" not in _assigned(line)]
        self.generic_visit(node)
        return node


def _assigned(line: ast.stmt) -> list[str]:
    """Return the plain names that a statement assigns."""
    targets = [line.target] if isinstance(line, ast.AnnAssign) else line.targets if isinstance(line, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


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
