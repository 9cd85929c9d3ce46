"""A pytest plugin for the examples in docstrings: ``python -m pytest -p tests.support.doctests --doctest-modules src``.

Examples run in an empty folder, with an empty cache and without a network. One that needs a package that is not
installed is skipped with the reason.
"""

from __future__ import annotations

import doctest
from collections.abc import Generator
from pathlib import Path

import pytest

from diptych.core import MissingExtra


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as error:
        for failure in getattr(error, "failures", [error]):
            if isinstance(failure, doctest.UnexpectedException) and isinstance(failure.exc_info[1], MissingExtra):
                pytest.skip(str(failure.exc_info[1]))
        raise
