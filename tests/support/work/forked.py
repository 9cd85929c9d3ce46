"""Runs pytest as a process of its own would, in a fork: torch and the libraries of models, whose import takes longer
than the tests, are there already, and diptych, proofs and tests are imported anew from where the path says.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest

OURS = ("diptych", "proofs", "recipes", "tests", "tools", "conftest")


def pytest_in_fork(words: Sequence[str], folder: Path, path: Sequence[str]) -> tuple[int, str]:
    """Run pytest with some words in a folder.

    Args:
        words: as after ``python -m pytest``.
        folder: where it runs.
        path: folders in which modules are looked for first.

    Returns:
        The exit code, and all that was written.
    """
    reading, writing = os.pipe()
    if not (child := os.fork()):
        code = 70
        try:
            for stream in (1, 2):
                os.dup2(writing, stream)
            sys.stdout = sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb", 0), "utf-8", write_through=True)
            code = _pytest(words, folder, path)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as file:
        output = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output


def _pytest(words: Sequence[str], folder: Path, path: Sequence[str]) -> int:
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS or name.startswith("test_")]:
        del sys.modules[name]
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    os.chdir(folder)
    root = str(Path(__file__).parents[3])
    sys.path[:] = [*path, *(p for p in sys.path if p not in ("", root, f"{root}/src"))]
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "AssertionRewritingHook"]
    sys.argv = ["pytest", *words]
    return int(pytest.main([*words]))
