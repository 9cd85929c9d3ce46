"""Examples in docstrings: a false one fails, one whose package is missing is skipped with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULE = '''
def right():
    """
    >>> 1 + 1
    2
    """


def false():
    """
    >>> 1 + 1
    3
    """


def missing():
    """
    >>> from diptych.core import MissingExtra
    >>> raise MissingExtra("trimesh", "points", "Reading a mesh")
    """
'''


def test_a_false_example_fails_and_one_without_its_package_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "examples.py").write_text(MODULE)
    words = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "tests.support.doctests", "--doctest-modules"]
    done = subprocess.run(
        [sys.executable, *words, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert "1 failed, 1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "Reading a mesh needs trimesh: run pip install '.[points]' in a checkout" in done.stdout
