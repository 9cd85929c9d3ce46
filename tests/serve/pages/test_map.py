"""The map of an index: places, pictures with room, and the routes."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from diptych.core import Run
from diptych.data.load import open_records
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.serve.assembly import Content, server
from diptych.serve.model import ServedModel
from diptych.serve.opening import open_index
from diptych.serve.pages import map as photo_map
from diptych.serve.pages.map import CELL, SIZE, drawn, pictured
from diptych.serve.settings import Settings
from diptych.tasks.search.index import index
from tests.support.colours import ColourBackbone


def opened(folder: Path, count: int, kinds: int = 2) -> Index:
    made = Index.create(folder, {"dim": 3, "fingerprint": "x"})
    vectors = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    if count:
        entries = [Entry(f"{i}.jpg", facts={"label": f"kind {i % kinds}"}) for i in range(count)]
        made.add(entries, {"image": (np.arange(count), vectors)})
    return made


def test_every_photo_has_a_place_and_a_colour(tmp_path: Path) -> None:
    with opened(tmp_path / "index", 30) as source:
        result = drawn(source)
    assert sorted(int(p.tile.name.removesuffix(".jpg")) for p in result.places) == list(range(30))
    assert all(0 <= p.x <= SIZE[0] and 0 <= p.y <= SIZE[1] for p in result.places)
    assert (result.column, result.kinds, result.entries) == ("label", ("kind 0", "kind 1"), 30)
    assert all(p.kind == int(p.tile.name.removesuffix(".jpg")) % 2 for p in result.places)
    cells = [(p.x // CELL, p.y // CELL) for p in result.places if p.shown]
    assert len(set(cells)) == len(cells) == len({(p.x // CELL, p.y // CELL) for p in result.places})
    assert all((p.x % CELL, p.y % CELL) == (CELL / 2, CELL / 2) for p in result.places if p.shown)


@pytest.mark.parametrize("count", [0, 1])
def test_a_small_index_is_drawn_too(tmp_path: Path, count: int) -> None:
    with opened(tmp_path / "index", count) as source:
        result = drawn(source)
    assert (len(result.places), result.column) == (count, "")


def test_a_large_index_is_drawn_from_all_over_and_many_kinds_have_no_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_map, "MOST", 12)
    with opened(tmp_path / "index", 100, kinds=40) as source:
        coloured = drawn(source)
        monkeypatch.setattr(photo_map, "FEW", 11)
        result = drawn(source)
    assert {p.kind for p in coloured.places} == {None, *range(7)}
    numbers = sorted(int(p.tile.name.removesuffix(".jpg")) for p in result.places)
    assert (len(numbers), numbers[0], numbers[-1], result.entries) == (12, 0, 99, 100)
    assert (result.column, {p.kind for p in result.places}) == ("", {None})


def test_a_cell_shows_the_point_in_its_middle() -> None:
    points = np.array([[1.0, 1.0], [28.0, 33.0], [40.0, 30.0], [100.0, 100.0]])
    assert pictured(points) == [1, 3]
    assert pictured(np.zeros((0, 2))) == []


@pytest.fixture
def client(colours: Path, tmp_path: Path, model: ServedModel) -> Iterator[TestClient]:
    shutil.copytree(colours, tmp_path / "photos")
    index(open_records(str(tmp_path / "photos")), ColourBackbone(), Run(), tmp_path / "mine")
    content = Content((model,), {"mine": open_index(tmp_path / "mine", [model])})
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1", follow_redirects=True) as opened_client:
        yield opened_client


def page(client: TestClient) -> str:
    """Return the map, asked for again as the page does it."""
    for _ in range(200):
        text = client.get("/map").text
        if "being drawn" not in text:
            return text
        assert 'http-equiv="refresh"' in text
        time.sleep(0.1)
    raise AssertionError


def test_the_page_links_each_photo_and_alike_ones_are_found_together(client: TestClient) -> None:
    text = page(client)
    places = re.findall(r'<a href="/\?index=mine&amp;like=(\d+)" data-number="\1" data-path="[^"]*/(\w+)/[^"/]+"', text)
    assert len(places) == 90
    assert "on a map" in client.get("/").text
    red = [number for number, folder in places if folder == "red"]
    result = client.get("/alike", params=[("index", "mine"), *(("entry", n) for n in red[:5])])
    assert result.status_code == 200
    shown = re.findall(r'class="name" title="[^"]*/(\w+)/[^"/]+"', result.text)
    assert shown[:8] == ["red"] * 8
    for params, code, says in (
        ([("entry", "999999")], 404, "has no picture 999999"),
        ([], 400, "No photos are chosen"),
        ([("entry", "x")], 400, "entry must be the number"),
        ([("entry", red[0]), ("index", "nowhere")], 404, "is not served"),
    ):
        wrong = client.get("/alike", params=params)
        assert (wrong.status_code, says in wrong.text) == (code, True), wrong.text


def test_the_map_of_an_index_that_is_made_anew_with_as_many_photos_is_drawn_anew(
    client: TestClient, tmp_path: Path
) -> None:
    before = page(client)
    shutil.rmtree(tmp_path / "mine")
    (tmp_path / "photos").rename(tmp_path / "moved")
    index(open_records(str(tmp_path / "moved")), ColourBackbone(), Run(), tmp_path / "mine")
    after = page(client)
    assert before.count("/moved/") == 0
    assert after.count("/moved/") == before.count("/photos/") == 90


def test_a_drawing_that_fails_is_tried_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(index: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(photo_map, "_drawn", fail)
        with pytest.raises(MemoryError):
            client.get("/map")
    assert "pictures of mine" in page(client)
