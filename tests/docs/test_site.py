"""Pages of the site and a board's report in headless Chromium, at the widths of a desk and of a phone: needs Chromium
and the dependency groups ``browser`` and ``docs``, and is skipped without them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from diptych.cli.main import app
from tests.support.servers.browser import PHONE, WIDE, Open, chromium, pages_of  # noqa: F401

if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
    pytest.skip("MkDocs is not installed: pip install --group docs", allow_module_level=True)

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
WINDOWS = {"desk": WIDE, "phone": PHONE}
LEAST = 12
"""Pixels of the smallest letters."""
SMALL = """least => {
  const small = new Set(), walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, element = text.parentElement, range = document.createRange();
    if (!text.data.trim() || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    if (box.width < 1 || box.height < 1) continue;
    const drawn = element.getScreenCTM?.();  // letters of a plot shrink with it
    const size = parseFloat(getComputedStyle(element).fontSize) * (drawn ? Math.hypot(drawn.a, drawn.b) : 1);
    if (size < least - 0.01) small.add(`${element.tagName} ${size.toFixed(2)}: ${text.data.trim().slice(0, 40)}`);
  }
  return [...small];
}"""
"""Visible texts whose letters are smaller than so many pixels."""
BROKEN = """Promise.all([...document.images].map(image => {
  image.loading = "eager";
  return image.decode().then(() => image.naturalWidth > 0 ? "" : image.src, () => image.src);
})).then(sources => sources.filter(source => source))"""
"""Addresses of pictures that are not there or cannot be read."""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and writes no log."""

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make docs`` builds it, and the report of ``diptych demo`` beside it."""
    out = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words = ["demo", "--shots", "1", "--seeds", "1", "--out", str(out / "demo"), "--cache", str(out / "cache")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The address of a server of the folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_page(chromium: Any, address: str) -> Iterator[Open]:  # noqa: F811
    with pages_of(chromium, address) as start:
        yield start


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("path", ["/", "/systems/tip-adapter-f/", "/tutorials/search/", "/demo/report.html"])
def test_a_page_fits_its_window_shows_its_pictures_and_can_be_read(
    open_page: Open, path: str, window: str, tmp_path: Path
) -> None:
    sheet = open_page(path, WINDOWS[window])
    width, height = WINDOWS[window]
    sheet.screenshot(path=tmp_path / f"{window}.png")
    assert sheet.evaluate("document.documentElement.scrollWidth") <= width
    first = sheet.locator("article, main").locator("img, pre").first.bounding_box()
    assert first["y"] < height, "the first picture or code is above the fold"
    assert first["x"] >= 0
    assert sheet.evaluate(BROKEN) == []
    assert sheet.evaluate(SMALL, LEAST) == []


def test_a_plot_and_a_sheet_of_pictures_scroll_sideways_on_a_phone(open_page: Open) -> None:
    for path, scrolled in (("/", "p:has(> img.sheet)"), ("/demo/report.html", ".plot")):
        box = open_page(path, PHONE).locator(scrolled).first
        assert box.evaluate("box => [box.scrollWidth > 500, box.clientWidth <= 390]") == [True, True]


def test_the_checks_see_small_letters_and_pictures_that_are_not_there(open_page: Open) -> None:
    sheet = open_page("/demo/report.html", WIDE)
    sheet.set_content(
        '<p style="font-size:11px">small</p><p>large</p><svg viewBox="0 0 200 20" width="100"><text y="10" '
        'font-size="16">plot</text></svg><img src="data:image/png;base64,AA==">'
    )
    assert sheet.evaluate(SMALL, LEAST) == ["P 11.00: small", "text 8.00: plot"]
    assert sheet.evaluate(BROKEN) == ["data:image/png;base64,AA=="]
