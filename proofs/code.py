"""Which code of a system a result was measured with: a digest of its module and of the networks that it alone uses."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import diptych
from diptych.evaluation.few_shot.inputs import Statements

PACKAGE = Path(diptych.__file__).parent


def code_of(slug: str, package: Path = PACKAGE) -> str:
    """Return 16 hex digits of the behaviour of a system's code, the same for every version of Python.

    Comments, docstrings, the card, imports, annotations, messages of errors and names of local variables do not count.
    Code counts that stands in the system's module, or in a module of ``nn`` that no other system takes, even through
    another module of ``nn``.

    Args:
        slug: of the system, or SLUG:ROW.
        package: folder of ``diptych`` in which the code is read; nothing is imported.
    """
    stem = slug.partition(":")[0].replace("-", "_")
    networks = {file: _networks(file, package) for file in package.glob("methods/**/[!_]*.py")}
    (system,) = (file for file in networks if file.stem == stem)
    alone = networks[system].difference(*(taken for file, taken in networks.items() if file != system))
    return hashlib.sha256("".join(sorted(map(_behaviour, (system, *alone)))).encode()).hexdigest()[:16]


def _networks(file: Path, package: Path) -> set[Path]:
    """Return the modules of ``nn`` that a module imports, and those that these import, and so on."""
    todo, taken = [file], set[Path]()
    while todo:
        todo += (new := _imported(todo.pop(), package) - taken)
        taken |= new
    return taken


@cache
def _imported(file: Path, package: Path) -> set[Path]:
    nodes = [n for n in ast.walk(ast.parse(file.read_bytes())) if isinstance(n, ast.ImportFrom)]
    names = {name for n in nodes for name in (str(n.module), *(f"{n.module}.{alias.name}" for alias in n.names))}
    files = (package.parent.joinpath(*n.split(".")).with_suffix(".py") for n in names if n.startswith("diptych.nn."))
    return {file for file in files if file.is_file()}


@cache
def _behaviour(file: Path) -> str:
    tree = Statements().visit(ast.parse(file.read_bytes()))
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Raise):
            node.exc, node.cause = node.exc.func if isinstance(node.exc, ast.Call) else node.exc, None
    for node in reversed(nodes):  # functions inside others first, whose variables may be free there
        if isinstance(node, ast.FunctionDef):
            _number_variables(node)
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()


def _number_variables(function: ast.FunctionDef) -> None:
    """Call arguments and variables v0, v1 and so on, in the order in which they occur. Modified in place."""
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    arguments = [node for node in ast.walk(function) if isinstance(node, ast.arg)]
    local = [*(a.arg for a in arguments), *(n.id for n in names if isinstance(n.ctx, ast.Store))]
    numbered = {name: f"v{i}" for i, name in enumerate(dict.fromkeys(local))}
    for argument in arguments:
        argument.arg = numbered[argument.arg]
    for name in names:
        name.id = numbered.get(name.id, name.id)


def _plain(node: Any) -> Any:
    """Return a tree as lists, without imports and annotations; empty fields, which newer Pythons add, are left out."""
    if isinstance(node, list):
        return [_plain(one) for one in node if not _imports(one)]
    if not isinstance(node, ast.AST):
        return node
    dropped = {"ctx", "kind", "returns"} | ({"annotation"} if isinstance(node, ast.arg) else set())
    fields = ((name, _plain(value)) for name, value in ast.iter_fields(node) if name not in dropped)
    return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]


def _imports(node: Any) -> bool:
    """Return whether a statement imports, or does so under a condition, such as TYPE_CHECKING."""
    conditional = isinstance(node, ast.If) and all(map(_imports, node.body))
    return conditional or isinstance(node, ast.Import | ast.ImportFrom)
