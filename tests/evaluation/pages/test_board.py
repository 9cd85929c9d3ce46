"""The report: self-contained, escaped, with every part that it promises."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from diptych.core import ClassNames, UnreadableItem
from diptych.data.folders import ImageFiles
from diptych.evaluation.few_shot.board import Board
from diptych.evaluation.pages import plots
from diptych.evaluation.pages.board import html, write
from diptych.tasks.classify import classify
from tests.support.colours import COLOURS, ColourBackbone, coloured

EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Collects what a browser would load, and tags that do not close."""

    VOID = {"meta", "img", "input", "br", "line", "rect", "circle", "path", "polyline"}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.images = 0
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.sources += [
            found[a] or "" for a in ("src", "href", "srcset", "xlink:href", "action", "data") if a in found
        ]
        if tag == "img":
            self.images += 1
            assert found.get("alt"), "a picture without words"
        if tag == "svg":
            assert found.get("aria-label") or found.get("aria-hidden")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_loads_nothing_and_holds_every_part(finished: tuple[Board, Path], tmp_path: Path) -> None:
    board, _ = finished
    photos = ImageFiles([coloured(tmp_path / f"{n}.png", n, 0) for n in COLOURS])
    results = classify(photos, tuple(COLOURS), ColourBackbone(), top=2)
    write(board, tmp_path / "report.html", classified=results, photos=photos)
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.open == ["html"] or page.open == []
    assert all(s.startswith(("data:image/jpeg;base64,", "#cell-")) for s in page.sources)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search(r"url\(|@import|https?://", text)
    assert page.images >= 5 + 8
    for heading in (
        "What is on these photos?",
        "Board",
        "Accuracy against shots",
        "Right and wrong",
        "How this was measured",
        "Repeat it",
    ):
        assert f"<h2>{heading}</h2>" in text
    for row in board.rows:
        assert f"{100 * row.metrics['acc1']:.1f}" in text
        assert row.label in text
    assert "diptych board classify colours" in text
    assert board.facts["fingerprint"] in text
    assert "every file could be read" in text
    assert text.count('<th scope="col"') == 11 + 10
    first = re.search(r"data:image/jpeg;base64,([^\"]+)", text)
    assert first
    assert max(Image.open(io.BytesIO(base64.b64decode(first[1]))).size) <= 420


def test_one_seed_is_not_said_to_tell_how_far_draws_differ(finished: tuple[Board, Path]) -> None:
    board, _ = finished
    assert "items and seeds together" in html(board)
    one = html(replace(board, plan=replace(board.plan, seeds=(3,)), facts={**board.facts, "threads": 1}))
    assert "items and seeds" not in one
    assert "by seed 3;" in one
    assert "since there is one seed" in one
    assert " 1 thread," in one


def test_what_users_name_is_escaped(finished: tuple[Board, Path]) -> None:
    board, _ = finished
    names = ClassNames((EVIL, *board.classes.names[1:]), (EVIL + "{}",))
    spoiled = replace(
        board,
        classes=names,
        data=replace(board.data, name=EVIL),
        facts={**board.facts, "command": EVIL, "source": EVIL, "machine": EVIL},
        failed=(UnreadableItem(EVIL, EVIL),),
        missing={EVIL: EVIL},
    )
    text = html(spoiled)
    assert EVIL not in text
    assert text.count("&lt;script&gt;") >= 8
    assert "script" not in Page(text).tags


def test_an_interrupted_or_empty_board_says_so(finished: tuple[Board, Path]) -> None:
    board, _ = finished
    assert "Interrupted" not in html(board)
    assert "Interrupted" in html(replace(board, interrupted=True))
    assert "Interrupted" in html(replace(board, interrupted=True, rows=()))
    assert "left out: the budget" in html(replace(board, late={"GDA": "left out: the budget was spent."}))


def test_the_recommendation_and_the_promises_are_there(finished: tuple[Board, Path]) -> None:
    board, _ = finished
    text = html(board)
    assert "Recommended, by" in text
    assert "Probabilities to act on" in text
    row = next(r for r in board.rows if r.method == "gda")
    assert f"<td>{row.acting['temperature']:.3g}</td>" in text


def test_a_page_about_val_does_not_speak_of_test(finished: tuple[Board, Path]) -> None:
    board, _ = finished
    splits = {"val" if name == "test" else name: table for name, table in board.data.splits.items() if name != "val"}
    text = html(replace(board, data=replace(board.data, splits=splits), facts={**board.facts, "measured": "val"}))
    words = re.sub(r"<[^>]+>", "", text)
    assert "photos apart from val" in words
    assert "% on val." in words
    assert "train items per class, as CoOp does" in words
    assert not re.search(r"\b(on|from|over) test\b", words)


def test_curves_are_drawn_where_the_numbers_are() -> None:
    points = (plots.Point(1, 0.2, 0.1, 0.3), plots.Point(16, 0.6, 0.5, 0.7))
    svg = plots.curves(
        [plots.Series("a <b>", points)], plots.Point(0, 0.2, 0.15, 0.25), title="t < u", x_label="x", y_label="y"
    )
    root = ElementTree.fromstring(svg)
    (line,) = root.iter("polyline")
    (x1, y1), (x2, y2) = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
    assert x1 < x2
    assert y1 > y2
    (reference,) = [e for e in root.iter("line") if e.get("class") == "reference"]
    assert float(reference.attrib["y1"]) == pytest.approx(y1, abs=0.1)
    whiskers = [e for e in root.iter("line") if e.get("class") == "whisker"]
    assert float(whiskers[0].attrib["y1"]) - y1 == pytest.approx(y1 - float(whiskers[0].attrib["y2"]), abs=0.15)
    ElementTree.fromstring(plots.reliability([(0.5, 0.4, 3)], title="&"))
    assert "a &lt;b&gt;" in plots.legend(["a <b>"])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.43, 0.47), (0.5, 0.5), (0.08, 0.92), (0.999, 1.0)])
def test_ticks_enclose_and_are_few(low: float, high: float) -> None:
    found = plots.ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 9
