"""Fixtures of the server's tests; without the extra ``serve`` and httpx its test files are skipped."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from diptych.core.errors import EXTRAS

MISSING = [module for module in (*EXTRAS["serve"].values(), "httpx") if find_spec(module) is None]

if not MISSING:
    from tests.support.servers.serving import (  # noqa: F401
        address,
        client,
        content,
        index_folder,
        model,
        predictor,
        serve,
    )


class Unavailable(pytest.Module):
    """A test file that is not imported."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(f"the tests of the server need {', '.join(MISSING)}", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return Unavailable.from_parent(parent, path=module_path) if MISSING else None  # type: ignore[no-any-return]
