from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "tools" / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sheets(tool: Any) -> Any:
    return sys.modules["gallery_sheets"]


def test_the_page_shows_every_panel_and_the_pictures_stay_small(tool: Any) -> None:
    shown = re.findall(r"\(figures/gallery/(\S+?)\)", tool.PAGE.read_text(encoding="utf-8"))
    assert len(shown) == len(tool.PANELS)
    assert sorted(shown) == sorted(p.name for p in tool.FIGURES.iterdir())
    assert sum(p.stat().st_size for p in tool.FIGURES.iterdir()) < 2 * 2**20


def test_text_is_cut_to_its_width(sheets: Any) -> None:
    assert sheets.fitted("short", 200) == "short"
    cut = sheets.fitted("a text that is much too long for this width", 100)
    assert cut.endswith("...")
    assert sheets.font(14).getlength(cut) <= 100


def test_a_sheet_has_a_cell_a_picture(sheets: Any) -> None:
    pictures = [Image.new("RGB", (400, 200), "red")] * 3
    made = sheets.sheet(
        pictures, [[("a", sheets.INK)], [("b", sheets.INK), ("c", sheets.DIM)], [("d", sheets.INK)]], 2, side=100
    )
    assert made.size == (2 * 110, 2 * (100 + 2 * 18 + 14))
    assert made.getpixel((50, 50)) == (255, 0, 0)
    assert made.getpixel((160, 200)) == (255, 255, 255)  # no fourth picture


def test_maps_of_one_name_are_shown_as_failures_alone(sheets: Any) -> None:
    one, two = [(1.0,), (0.995, 0.005)], [(1.0,), (0.6, 0.4)]
    sheets.refuse_one_name(two, "The default segmenter.")
    sheets.refuse_one_name(one, "One name over each photo is a failure.")
    with pytest.raises(ValueError, match="one name over the whole photo"):
        sheets.refuse_one_name(one, "The default segmenter.")


def test_the_page_says_what_made_a_picture(tool: Any) -> None:
    text = tool.page([tool.Panel("x.png", "verb", "diptych verb", "What is seen.", "<svg/>")])
    assert "## verb\n\n![verb](figures/gallery/x.png)\n\nWhat is seen.\n\n```console\n$ diptych verb\n```" in text
