"""Errors name arguments, which each face spells; below the faces they name no flags, since a Python user has none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import diptych
from diptych.core.errors import UsageError

PACKAGE = Path(diptych.__file__).parent
FACES = {"cli", "serve"}  # a command line's own errors, and those of a server that was started by flags
COMMAND = re.compile(
    r"'[^']*'"
)  # a whole command, such as 'diptych index PHOTOS --out FOLDER', is the same on each face
FLAG = re.compile(r"(?<![\w-])--[a-z]")


def message(node: ast.AST) -> str:
    """The literal text in a node, with "x" for what is put into it."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.FormattedValue):
        return "x"
    return "".join(message(child) for child in ast.iter_child_nodes(node))


def flags_in_errors(source: str) -> list[str]:
    """The texts of errors that name a flag outside a quoted command."""
    texts = [message(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Raise)]
    return [text for text in texts if FLAG.search(COMMAND.sub("", text))]


def test_each_face_spells_an_argument_and_templates_stay() -> None:
    error = UsageError("Give {normal}; a template has a place '{}', such as 'a photo of {name}'.")
    assert error.spelled(lambda name: f"--{name}").startswith("Give --normal; a template has a place '{}'")
    assert str(error).startswith("Give normal; ")


def test_a_flag_is_found_and_a_command_is_not() -> None:
    assert flags_in_errors('raise ValueError("give --texts")') == ["give --texts"]
    assert flags_in_errors("raise ValueError(f\"{a}: run 'diptych index {b} --cut' or give {{texts}}\")") == []


def test_no_error_below_the_faces_names_a_flag() -> None:
    files = [p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] not in FACES]
    named = {str(p.relative_to(PACKAGE)): found for p in files if (found := flags_in_errors(p.read_text("utf-8")))}
    assert len(files) > 500
    assert not named
