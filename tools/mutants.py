"""Change one operator or number of the maths at a time, and write down which changes its tests notice.

``python tools/mutants.py --count 300 --out tests/mutants.csv`` draws places of ``ROOMS`` by a seed, runs the mirrored
test file of each with the change, and writes file, line, operator (with its column) and whether a test failed. Rows
that the file holds already are not run again, so that a long draw can be done in pieces. The tests must pass without a
change. Tests that start a process of their own do not see the change there.
"""

from __future__ import annotations

import argparse
import ast
import copy
import csv
import importlib
import importlib.machinery
import os
import random
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("methods/**/*.py", "nn/**/*.py", "metrics/**/*.py", "data/splits.py", "evaluation/arms.py")
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
PROCESSOR, WALL = 120, 1800
"""Seconds after which tests that do not end count as failed: an endless loop is noticed."""
LIBRARIES = ("torch", "torchvision.ops", "open_clip", "timm", "transformers", "sklearn.linear_model", "scipy.stats")
"""What is imported once, before a process for each change."""


def test_of(file: Path) -> Path:
    """Return the test file that mirrors a module."""
    return ROOT / "tests" / file.relative_to(ROOT / "src" / "diptych").parent / f"test_{file.name}"


def sources() -> list[Path]:
    """Return the modules of the rooms that have a mirrored test file, sorted."""
    files = [file for room in ROOMS for file in (ROOT / "src" / "diptych").glob(room)]
    return sorted(f for f in files if test_of(f).is_file())


def mutant(tree: ast.Module, number: int) -> tuple[int, str, ast.Module]:
    """Return line, operator and tree of the change at the node with this number in ``ast.walk``."""
    changed = copy.deepcopy(tree)
    node: Any = next(n for k, n in enumerate(ast.walk(changed)) if k == number)
    name, field, value = _change(node) or ("", "", None)
    setattr(node, field, value)
    return node.lineno, f"{name} at {node.col_offset}", ast.fix_missing_locations(changed)


def _change(node: ast.AST) -> tuple[str, str, Any] | None:
    """Return name, field and new value of the change of a node; None: it is not changed."""
    old = getattr(node, "op", None) or next(iter(getattr(node, "ops", ())), None)
    if type(old) in SWAPS:
        new = SWAPS[type(old)]()
        name = f"{type(old).__name__} to {type(new).__name__}"
        return (name, "ops", [new, *node.ops[1:]]) if isinstance(node, ast.Compare) else (name, "op", new)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return f"{node.value} to {node.value + 1}", "value", node.value + 1
    return None


def survives(file: Path, tree: ast.Module) -> bool:
    """Return whether the tests of a module pass with the tree in its place, in a process of their own."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
        signal.alarm(WALL)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        real = importlib.machinery.SourceFileLoader.get_code

        def get_code(loader: Any, name: str) -> Any:
            return compile(tree, loader.path, "exec") if Path(loader.path) == file else real(loader, name)

        importlib.machinery.SourceFileLoader.get_code = get_code
        import pytest

        quiet = "ignore::pytest.PytestAssertRewriteWarning"  # of plug-ins that libraries have imported
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", quiet, str(test_of(file))])))
    finally:
        os._exit(1)


def main(words: Sequence[str] | None = None) -> int:
    """Draw, run and write; say how many changes no test notices."""
    parser = argparse.ArgumentParser(description="Draw changes of the maths, and write which its tests notice.")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "mutants.csv")
    given = parser.parse_args(words)
    for library in LIBRARIES:
        importlib.import_module(library)
    trees = {file: ast.parse(file.read_bytes()) for file in sources()}
    sites = [(file, n) for file, tree in trees.items() for n, node in enumerate(ast.walk(tree)) if _change(node)]
    drawn = random.Random(given.seed).sample(sites, min(given.count, len(sites)))
    if not survives(first := drawn[0][0], trees[first]):
        parser.error(f"{test_of(first).relative_to(ROOT)} fails without a change: mend it first.")
    with given.out.open("a+", newline="") as stream:
        stream.seek(0)
        rows = [tuple(row) for row in csv.reader(stream)]
        writer = csv.writer(stream, lineterminator="\n")
        if not rows:
            writer.writerow(("file", "line", "operator", "killed"))
        for file, number in drawn:
            line, operator, tree = mutant(trees[file], number)
            place = (file.relative_to(ROOT).as_posix(), str(line), operator)
            if not any(row[:3] == place for row in rows):
                rows.append((*place, "no" if survives(file, tree) else "yes"))
                writer.writerow(rows[-1])
                stream.flush()
    sys.stdout.write(f"No test notices {sum(row[3] == 'no' for row in rows)} of the changes in {given.out}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
