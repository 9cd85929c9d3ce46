"""Which changes the tool draws: one operator or number each, and only of modules with a mirrored test file."""

from __future__ import annotations

import ast

import pytest

from tools import mutants


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a + b * 2", {"Add to Sub at 0": "a - b * 2", "Mult to Div at 4": "a + b / 2", "2 to 3 at 8": "a + b * 3"}),
        ("a <= b < c", {"LtE to Lt at 0": "a < b < c"}),
        ("a and b", {"And to Or at 0": "a or b"}),
        ("x == 0.5", {"Eq to NotEq at 0": "x != 0.5", "0.5 to 1.5 at 5": "x == 1.5"}),
        ("f(True, 'a', None, -x, a @ b, a in c)", {}),
    ],
)
def test_each_change_is_of_one_operator_or_number(source: str, changes: dict[str, str]) -> None:
    tree = ast.parse(source)
    numbers = [n for n, node in enumerate(ast.walk(tree)) if mutants._change(node)]
    made = [mutants.mutant(tree, n) for n in numbers]
    assert {operator: ast.unparse(changed) for _, operator, changed in made} == changes
    assert {line for line, _, _ in made} <= {1}
    assert ast.unparse(tree) == source, "the tree itself stays"


def test_modules_of_the_maths_are_drawn_with_their_mirrored_tests() -> None:
    names = {file.relative_to(mutants.ROOT / "src" / "diptych").as_posix() for file in mutants.sources()}
    assert {"data/splits.py", "evaluation/arms.py", "methods/classify/gda.py", "metrics/interval.py"} <= names
    assert not any(name.startswith(("cli/", "tasks/")) for name in names)
