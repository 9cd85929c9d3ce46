"""Headless Chromium for tests; a file that imports this is skipped without it or without Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install --group browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("there is no Chromium on the PATH", allow_module_level=True)

WIDE, PHONE = (1280, 900), (390, 844)
PATIENCE = 30_000
"""Milliseconds that a busy machine may need for a step; an idle one needs a tenth of a second."""
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield browser
        browser.close()


@contextmanager
def pages_of(browser: Any, address: str, tolerated: str = "") -> Iterator[Open]:
    """Give a function that opens a page; at the end, what pages wrote to the console must be nothing.

    Args:
        browser: from ``chromium``.
        address: of the server.
        tolerated: part of messages that may be written.
    """
    contexts, complaints = [], list[str]()

    def start(path: str, size: tuple[int, int] = WIDE, status: int = 200, **options: Any) -> Any:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, base_url=address, reduced_motion="reduce", **options
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        sheet = context.new_page()
        sheet.on("console", lambda m: (tolerated and tolerated in m.text) or complaints.append(m.text))
        sheet.on("pageerror", lambda error: complaints.append(str(error)))
        assert sheet.goto(path).status == status
        return sheet

    yield start
    for context in contexts:
        context.close()
    assert complaints == []
