"""The page in headless Chromium: needs Chromium and the dependency group ``browser``, and is skipped without them."""

from __future__ import annotations

import csv
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from diptych import load
from diptych.core import Run
from diptych.data.load import open_records
from diptych.serve.assembly import Content, server
from diptych.serve.model import ServedModel
from diptych.serve.opening import open_index
from diptych.serve.run import configured
from diptych.serve.settings import Settings
from diptych.tasks.search.cut import mark
from diptych.tasks.search.index import index
from tests.support.colours import COLOURS, ColourBackbone, coloured
from tests.support.servers.browser import PHONE, WIDE, Open, chromium, pages_of  # noqa: F401
from tests.support.servers.serving import colour_bytes

REFUSED = "status of 4"
"""What Chromium writes where the server refuses something."""


@pytest.fixture(scope="module")
def tiny() -> ServedModel:
    return ServedModel("tiny", load("tiny", engine="torch", cache=False))


@pytest.fixture(scope="module")
def folder(tiny: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes of coloured photos: "plain", without marks, "marked", with a cut, and "maps" of a model with maps."""
    root = tmp_path_factory.mktemp("browser")
    photos = root / "photos"
    for i, colour in enumerate(16 * tuple(COLOURS)):
        coloured(photos / colour / f"{i // len(COLOURS)}.png", colour, i, noise=15.0)
    for name in ("plain", "marked"):
        index(open_records(str(photos)), ColourBackbone(), Run(), root / name)
    rows = ["query,path,right"]
    for i in range(20):
        colour = list(COLOURS)[i % 5]
        rows += [
            f"{colour}{' please' * (i // 5)},{photos / other / f'{k}.png'},{int(other == colour)}"
            for other in COLOURS
            for k in range(8)
        ]
    (root / "marks.csv").write_text("\n".join(rows))
    mark(root / "marked", str(root / "marks.csv"), ColourBackbone(), Run())
    large = root / "large"
    large.mkdir()
    for i, colour in enumerate(("red", "blue", "green")):
        picture = Image.new("RGB", (96, 64), "white")
        picture.paste(COLOURS[colour], (8 * i, 8, 8 * i + 32, 40))
        picture.save(large / f"{colour}.png")
    index(open_records(str(large)), tiny.model, tiny.run, root / "maps")
    return root


@pytest.fixture(scope="module")
def site(folder: Path, model: ServedModel, tiny: ServedModel) -> Iterator[str]:
    """The address of a server of the indexes."""
    served = {name: open_index(folder / name, [model, tiny]) for name in ("plain", "marked", "maps")}
    settings = Settings(port=0)
    running = uvicorn.Server(configured(server(settings, Content((model, tiny), served)), settings))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    thread.join(10)


@pytest.fixture
def open_page(chromium: Any, site: str) -> Iterator[Open]:  # noqa: F811
    with pages_of(chromium, site, REFUSED) as start:
        yield start


def names(sheet: Any) -> list[str]:
    """Return the paths of the tiles."""
    paths: list[str] = sheet.locator("#tiles .name").evaluate_all("all => all.map(p => p.title)")
    return paths


SMALL = """all => all.filter(e => e.checkVisibility()).map(e => [e.outerHTML, e.getBoundingClientRect()])
.filter(([_, box]) => Math.min(box.width, box.height) < 24).map(([html, _]) => html)"""
"""Visible elements that are less than 24 pixels wide or high."""


@pytest.mark.parametrize(
    "path",
    ["/", "/?q=red", "/?q=red&index=marked&at_least=0.8", "/?q=lighthouse&index=marked&at_least=0.8"],
)
def test_a_page_fits_its_window_and_its_targets_a_finger(open_page: Open, path: str) -> None:
    sheet = open_page(path)
    targets = sheet.locator("button, summary, input, select, .tools a, .marks a, .facets a, .examples a, #more")
    for width, height in (WIDE, PHONE):
        sheet.set_viewport_size({"width": width, "height": height})
        for details in (False, True):
            sheet.locator("details").evaluate_all("(all, open) => all.forEach(d => { d.open = open; })", details)
            assert sheet.evaluate("document.documentElement.scrollWidth") == width
            assert targets.count() >= 6
            assert targets.evaluate_all(SMALL) == []


@pytest.mark.parametrize("index", ["plain", "marked"])
def test_a_word_as_long_as_a_line_breaks(open_page: Open, index: str) -> None:
    sheet = open_page(f"/?q={'x' * 1500}&index={index}&where={'y' * 400}", PHONE, status=400)
    assert sheet.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    assert "y" * 60 in sheet.get_by_role("alert").inner_text()


def test_who_goes_back_stands_where_he_stood(open_page: Open) -> None:
    sheet = open_page("/?q=grey+steps")
    figures = sheet.locator("#tiles figure")
    while figures.count() < 72:
        sheet.mouse.wheel(0, 5000)
        sheet.wait_for_timeout(50)
    figures.nth(60).scroll_into_view_if_needed()
    before, every = figures.nth(60).bounding_box(), names(sheet)[:72]
    figures.nth(60).get_by_role("link", name="similar").click()
    sheet.wait_for_url("**like=**")
    sheet.go_back()
    figures.nth(71).wait_for()
    sheet.wait_for_function("scrollY > 1000")
    assert figures.nth(60).bounding_box() == pytest.approx(before, abs=2)
    assert names(sheet)[:72] == every
    while figures.count() < 80:  # the pages after it go on as before
        sheet.mouse.wheel(0, 5000)
        sheet.wait_for_timeout(50)
    assert len(set(names(sheet))) == figures.count() == 80


def test_the_first_answer_is_above_the_fold_of_a_phone(open_page: Open) -> None:
    sheet = open_page("/?q=red&index=marked&at_least=0.8", PHONE)
    photo = sheet.locator("#tiles img").first.bounding_box()
    assert photo["y"] + photo["height"] < 664  # without the bars of a browser


def test_without_a_query_the_page_shows_photos_of_the_index_and_words_to_try(open_page: Open) -> None:
    sheet = open_page("/")
    assert {Path(path).parent.name for path in names(sheet)} == set(COLOURS)
    sheet.get_by_role("link", name="pink", exact=True).click()
    sheet.wait_for_url("**q=pink")
    assert Path(names(sheet)[0]).parent.name == "pink"


def test_words_are_searched_by_keyboard(open_page: Open) -> None:
    sheet = open_page("/?q=blue")
    sheet.keyboard.press("/")
    sheet.keyboard.press("Control+A")
    sheet.keyboard.type("green")
    sheet.keyboard.press("Enter")
    sheet.wait_for_url("**q=green")
    assert Path(names(sheet)[0]).parent.name == "green"


def test_a_picture_is_uploaded_and_a_damaged_one_gets_a_sentence(open_page: Open) -> None:
    sheet = open_page("/")
    chosen = {"name": "mine.png", "mimeType": "image/png", "buffer": colour_bytes("yellow")}
    sheet.get_by_label("Picture").set_input_files(chosen)
    sheet.wait_for_url("**picture=**")
    assert {Path(path).parent.name for path in names(sheet)[:5]} == {"yellow"}
    sheet.get_by_label("Picture").set_input_files(chosen | {"buffer": b"no picture"})
    sheet.get_by_role("alert").wait_for()
    assert "picture" in sheet.get_by_role("alert").inner_text().lower()


def test_a_mark_does_not_move_the_page_and_is_there_after_a_reload(open_page: Open) -> None:
    sheet = open_page("/?q=grey+marks&top=80")
    tile = sheet.locator("#tiles figure").nth(60)
    right = tile.locator('[data-mark="1"]')
    right.focus()
    before, history = tile.bounding_box(), sheet.evaluate("window.stays = history.length")
    sheet.keyboard.press("Enter")  # a click of Playwright may scroll by itself
    sheet.locator("#counts:not([hidden])").wait_for(state="attached")
    assert right.get_attribute("aria-pressed") == "true"
    assert sheet.locator("#right").inner_text() == "1"
    assert sheet.locator("#head").is_hidden()  # a head learns from right and wrong answers
    assert sheet.evaluate("[window.stays, history.length]") == [history, history]  # the same document
    assert tile.bounding_box() == pytest.approx(before, abs=2)
    sheet.reload()
    assert right.get_attribute("aria-pressed") == "true"
    right.click()  # takes the mark back
    sheet.locator("#counts[hidden]").wait_for(state="attached")
    sheet.reload()
    assert right.get_attribute("aria-pressed") == "false"


def test_without_scripts_a_mark_is_a_form_and_more_answers_a_link(open_page: Open) -> None:
    sheet = open_page("/?q=grey+forms", java_script_enabled=False)
    sheet.locator("#tiles figure").nth(2).locator('[data-mark="0"]').click()
    assert sheet.locator("#tiles figure.bad").count() == 1
    sheet.locator("#tiles .pick").nth(0).check()
    sheet.locator("#tiles .pick").nth(1).check()
    sheet.locator("#selection").get_by_role("button", name="right", exact=True).click()
    assert sheet.locator("#tiles figure.good").count() == 2
    first = names(sheet)
    sheet.locator("#more").click()
    assert len(set(first) | set(names(sheet))) == 48
    assert sheet.request.get(sheet.locator("#tiles a.photo").first.get_attribute("href")).ok


def test_more_answers_come_while_one_scrolls(open_page: Open) -> None:
    sheet = open_page("/?q=grey&top=24")
    for expected in (48, 72, 80):
        sheet.evaluate("scrollTo(0, document.body.scrollHeight)")
        sheet.locator("#tiles figure").nth(expected - 1).wait_for()
    sheet.locator("#more").wait_for(state="detached")
    shown = names(sheet)
    assert len(shown) == len(set(shown)) == 80
    assert "top=96" in sheet.get_by_role("link", name="JSON").get_attribute("href")  # all of them


def test_a_range_is_selected_marked_and_exported(open_page: Open, tmp_path: Path) -> None:
    sheet = open_page("/?q=grey+range")
    bar, picks = sheet.locator("#selection"), sheet.locator("#tiles .pick")
    assert bar.is_hidden()
    picks.nth(1).click()
    picks.nth(4).click(modifiers=["Shift"])
    assert sheet.locator("#selected").inner_text() == "4 selected:"
    with sheet.expect_download() as download:
        bar.get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == names(sheet)[1:5]
    bar.get_by_role("button", name="wrong", exact=True).click()
    sheet.locator("#tiles figure.bad").nth(3).wait_for()
    assert sheet.locator("#wrong").inner_text() == "4"
    with sheet.expect_download() as download:
        sheet.get_by_role("link", name="JSON").click()
    download.value.save_as(tmp_path / "answers.json")
    assert len(json.loads((tmp_path / "answers.json").read_text())["results"]) == 24
    bar.get_by_role("button", name="none", exact=True).click()
    assert bar.is_hidden()
    photos = sheet.locator("#tiles a.photo")
    photos.nth(0).click(modifiers=["Shift"])
    photos.nth(2).click(modifiers=["Shift"])
    assert sheet.locator("#selected").inner_text() == "3 selected:"


def test_the_viewer_is_used_by_keyboard(open_page: Open) -> None:
    sheet = open_page("/?q=red&top=4")
    viewer, title = sheet.get_by_role("dialog"), sheet.locator("#position")
    sheet.keyboard.press("j")
    sheet.keyboard.press("Enter")
    viewer.wait_for()
    assert title.inner_text().startswith("1 of ")  # further answers may have come already
    assert "side=1024" in sheet.locator("#large").get_attribute("src")
    for number in (2, 3, 4, 5):  # the last step waits for more answers
        sheet.keyboard.press("ArrowRight")
        sheet.locator("#position", has_text=re.compile(rf"^{number} of")).wait_for()
    sheet.keyboard.press("ArrowLeft")
    assert title.inner_text().startswith("4 of ")
    sheet.keyboard.press("r")
    sheet.locator('#viewer [data-mark="1"][aria-pressed="true"]').wait_for()
    sheet.keyboard.press("Escape")
    viewer.wait_for(state="hidden")
    sheet.locator("#tiles figure:nth-child(4) a.photo:focus").wait_for()
    assert sheet.locator("#tiles figure").nth(3).get_attribute("class") == "tile good"


def test_the_map_lies_over_the_photo(open_page: Open) -> None:
    sheet = open_page("/?q=a+red+square&index=maps", PHONE)
    sheet.locator("#tiles a.photo").first.click()
    assert sheet.locator("#map").is_hidden()
    sheet.get_by_role("button", name="where?").click()
    sheet.locator("#map").wait_for()
    assert sheet.locator("#map").bounding_box() == sheet.locator("#large").bounding_box()
    size = "image => [image.naturalWidth, image.naturalHeight]"
    assert sheet.locator("#map").evaluate(size) == [96, 64]
    sheet.keyboard.press("ArrowRight")  # stays on
    sheet.locator("#map:not([hidden])").wait_for()
    sheet.keyboard.press("m")
    sheet.locator("#map").wait_for(state="hidden")


def test_the_slider_lives_only_where_a_share_is_known(open_page: Open) -> None:
    sheet = open_page("/?q=red")
    assert sheet.get_by_label("at least").is_disabled()
    sheet.get_by_text("why is the slider grey?").click()
    assert "How many answers are right is not known yet" in sheet.locator("#uncut").inner_text()
    sheet = open_page("/?q=red&index=marked&top=80")
    slider = sheet.get_by_label("at least")
    slider.focus()
    for _ in range(16):
        sheet.keyboard.press("ArrowRight")
    assert sheet.locator("#share").inner_text() == "80 %"
    sheet.keyboard.press("Enter")
    sheet.wait_for_url("**at_least=0.8**")
    assert "are expected to be right" in sheet.locator("#status").inner_text()
    assert 10 <= len(names(sheet)) < 80


def test_nothing_like_that_is_a_result(open_page: Open) -> None:
    sheet = open_page("/?q=a+lighthouse&index=marked&at_least=0.8")
    assert sheet.get_by_text("Nothing here looks like that").is_visible()
    assert sheet.locator("#tiles figure").count() == 0
    sheet.get_by_role("link", name="Show the nearest all the same").click()
    sheet.locator("#tiles figure").first.wait_for()


def test_the_page_is_dark_where_the_reader_prefers_it(open_page: Open) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = (open_page("/?q=red", color_scheme=scheme).evaluate(colour) for scheme in ("light", "dark"))
    assert [light, dark] == ["rgb(255, 255, 255)", "rgb(22, 23, 21)"]


def lasso(sheet: Any, corners: list[tuple[float, float]]) -> None:
    """Draw around a part of the map; corners are shares of its width and height."""
    box = sheet.locator("#map").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    sheet.mouse.move(*points[0])
    sheet.mouse.down()
    for x, y in points[1:]:
        sheet.mouse.move(x, y, steps=4)
    sheet.mouse.up()


def test_a_lasso_chooses_photos_that_are_shown_saved_and_searched_with(open_page: Open, tmp_path: Path) -> None:
    sheet = open_page("/")
    sheet.get_by_role("link", name="on a map").click()
    sheet.locator("#map").wait_for()  # the page asks again until it is drawn
    for width, height in (WIDE, PHONE):
        sheet.set_viewport_size({"width": width, "height": height})
        assert sheet.evaluate("document.documentElement.scrollWidth") == width
    sheet.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    assert sheet.locator("#selection").is_hidden()
    lasso(sheet, [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)])
    assert sheet.locator("#selected").inner_text() == "80 chosen:"
    assert sheet.locator("#tiles figure").count() == 80
    sheet.keyboard.press("Escape")
    assert sheet.locator("#selection").is_hidden()
    dot = sheet.locator('#map a[data-path*="/pink/"] circle').first
    x, y = (float(dot.get_attribute(name)) for name in ("cx", "cy"))
    left, right, top, low = (x - 20) / 1020, (x + 20) / 1020, (y - 20) / 660, (y + 20) / 660
    lasso(sheet, [(left, top), (right, top), (right, low), (left, low)])
    assert {Path(path).parent.name for path in names(sheet)} == {"pink"}
    sheet.get_by_label("label").fill("pink things")
    with sheet.expect_download() as waited:
        sheet.get_by_role("button", name="Save as CSV").click()
    waited.value.save_as(tmp_path / "photos.csv")
    rows = list(csv.DictReader((tmp_path / "photos.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["label"] for row in rows} == {"pink things"}
    assert all(Path(row["path"]).is_file() for row in rows)
    sheet.get_by_role("button", name="Find similar photos").click()
    sheet.wait_for_url("**picture=**")
    assert {Path(path).parent.name for path in names(sheet)[:8]} == {"pink"}


def test_a_photo_of_the_map_is_a_link(open_page: Open) -> None:
    sheet = open_page("/map?index=plain")
    sheet.locator("#map a image").first.wait_for()
    sheet.locator("#map a:has(image)").first.click(position={"x": 12, "y": 12})
    sheet.wait_for_url("**like=**")
