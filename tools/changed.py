"""Print the tests that ``make test`` leaves out: ``python tools/changed.py [--base REF]``.

Tests of pages, proofs, recipes and tools are slow and seldom concerned. One of their files is left out where nothing
differs from the merge base with ``origin/main`` (or ``main``), committed or not, of: the file and what it imports, at
the top of a module or inside a function, and so on; the folders that ``READ`` lists for it, which are read by name. On
``main`` itself, where nothing differs, all of them are: CI has run them. Without git or such a branch none is.
``make test-all``, which CI runs, runs everything.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALWAYS = ("pyproject.toml", "Makefile", "tests/conftest.py", "tests/support")
READ = {
    "tests/docs": ("README.md", "CITATION.cff", "docs", "src"),
    "tests/proofs": ("proofs",),
    "tests/recipes": ("recipes",),
    "tests/tools": ("benchmarks", "docs", "proofs", "results", "src/diptych/methods", "tools"),
}
"""Folder of tests -> what they read without importing it: scripts, pages, the commands that pages run, results, and
docstrings and cards of systems.

Data files of ``src`` count for every folder: no import names them.
"""


def differing(root: Path, base: str | None = None) -> list[str] | None:
    """Return the files that differ from the merge base, relative to the root; None: it is not known."""
    for ref in (base,) if base else ("origin/main", "main"):
        point = _git(root, "merge-base", "HEAD", ref)
        if point:
            tracked = _git(root, "diff", "--name-only", "-z", "--no-renames", point[0])
            new = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
            return None if tracked is None or new is None else tracked + new
    return None


def _git(root: Path, *words: str) -> list[str] | None:
    """Return what git prints, cut at line ends or zero bytes; None: it fails."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [word for word in done.stdout.replace("\0", "\n").split("\n") if word]


class Imports:
    """Which modules of a checkout a file imports.

    Args:
        root: of the checkout; modules lie in it and in ``src``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.of = cache(self._of)

    def closure(self, files: Sequence[Path]) -> set[str]:
        """Return the files and all that they import, directly or not, relative to the root."""
        seen, todo = set[Path](), list(files)
        while todo:
            file = todo.pop()
            if file not in seen:
                seen.add(file)
                todo += self.of(file)
        return {file.relative_to(self.root).as_posix() for file in seen}

    def _of(self, file: Path) -> list[Path]:
        taken = list[Path]()
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                taken += [path for alias in node.names for path in self._modules(alias.name)]
            elif isinstance(node, ast.ImportFrom):
                inside = [f"{node.module}.{a.name}" if node.module else a.name for a in node.names]
                bases = (file.parents[node.level - 1],) if node.level else ()
                taken += [path for name in inside for path in self._modules(name, *bases)]
        return taken

    def _modules(self, name: str, *bases: Path) -> Iterator[Path]:
        """Yield a module and the packages around it, as far as they exist."""
        for path in bases or (self.root / "src", self.root):
            for word in name.split("."):
                path /= word
                yield from (p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file())


def unconcerned(root: Path, changed: Sequence[str]) -> list[str]:
    """Return the test files of ``READ`` that none of these changes concerns."""
    if any(_below(name, ALWAYS) for name in changed):
        return []
    if any(_below(name, ("src",)) and not name.endswith(".py") for name in changed):
        return []
    imports, out = Imports(root), list[str]()
    for folder, read in READ.items():
        if any(_below(name, read) for name in changed):
            continue
        for file in sorted((root / folder).rglob("test_*.py")):
            fixtures = [p / "conftest.py" for p in file.parents if p.is_relative_to(root)]
            if imports.closure([file, *filter(Path.is_file, fixtures)]).isdisjoint(changed):
                out.append(file.relative_to(root).as_posix())
    return out


def _below(name: str, folders: Sequence[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def main(words: Sequence[str] | None = None) -> int:
    """Print one ``--ignore`` for pytest a line, and to stderr how many files these are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="branch or commit to compare with; default: origin/main, else main")
    changed = differing(ROOT, parser.parse_args(words).base)
    left = [] if changed is None else unconcerned(ROOT, changed)
    for name in left:
        sys.stdout.write(f"--ignore={name}\n")
    if left:
        sys.stderr.write(
            f"Left out: {len(left)} test files of pages, proofs, recipes and tools that no change since main concerns: "
            "make test-all runs them.\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
