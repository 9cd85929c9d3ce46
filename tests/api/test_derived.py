from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

from diptych.api import derived

ROOT = Path(__file__).parents[2]


def test_the_stub_says_what_the_declarations_say() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "verbs_stub.py"), "--check"], capture_output=True)
    assert done.returncode == 0, done.stdout


def test_functions_have_a_signature_and_a_docstring() -> None:
    for name in ("detect", "segment"):
        function = getattr(derived, name)
        assert function.__name__ == name
        parameters = inspect.signature(function).parameters
        assert next(iter(parameters)) == "photos"
        assert parameters["settings"].kind is inspect.Parameter.KEYWORD_ONLY
        assert all(f"    {p}: " in function.__doc__ for p in parameters)
