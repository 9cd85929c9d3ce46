from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from diptych.core import Run
from diptych.data.load import open_records
from diptych.serve.assembly import Content, server
from diptych.serve.model import ServedModel
from diptych.serve.opening import open_index
from diptych.serve.project import Project
from diptych.serve.settings import Settings
from diptych.tasks.model import read_about
from diptych.tasks.search.cut import mark
from diptych.tasks.search.default_cut import DefaultCut
from diptych.tasks.search.index import index
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.servers.serving import colour_bytes


class Seen(HTMLParser):
    """Tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(colours: Path, tmp_path: Path, model: ServedModel) -> Iterator[tuple[TestClient, Path]]:
    """A server with an index of its own: 90 pictures of five colours."""
    folder = tmp_path / "mine"
    shutil.copytree(colours, tmp_path / "photos")
    index(open_records(str(tmp_path / "photos")), ColourBackbone(), Run(), folder)
    content = Content((model,), {"mine": open_index(folder, [model])})
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1", follow_redirects=True) as client:
        yield client, folder


def test_the_page_loads_nothing_from_elsewhere_and_has_no_inline_code(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    answer = client.get("/", params={"q": "red"})
    seen = Seen(answer.text)
    sources = [a["src"] for tag in ("img", "script") for a in seen.all(tag)] + [a["href"] for a in seen.all("link")]
    assert all(re.match(r"/[^/]", source) for source in sources)
    assert not seen.all("style")
    assert not any(name.startswith("on") or name == "style" for _, a in seen.tags for name in a)
    for path in ("/page.css", "/page.js"):
        assert client.get(path).status_code == 200


def test_what_the_script_asks_for_is_on_the_page(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    text, script = client.get("/", params={"q": "red"}).text, client.get("/page.js").text
    seen = Seen(text)
    asked = set(re.findall(r'\$\("(\w+)"\)', script)) - set(re.findall(r'id: "(\w+)"', script))
    assert {"ask", "file", "at_least", "share", "tiles", "more", "selection", "viewer"} <= asked
    assert asked <= {a.get("id") for _, a in seen.tags}
    form = text[text.index('id="ask"') : text.index("</form>")]
    for name in ("file", "at_least", *re.findall(r"form\.elements\.(\w+)", script)):
        assert f'name="{name}"' in form
    assert re.search(r'id="tiles">\s*<figure[^>]*>\s*<a class="photo" href=', text)


def test_words_find_pictures_that_have_texts_and_thumbnails(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    seen = Seen(client.get("/", params={"q": "red", "top": "5"}).text)
    pictures = seen.all("img")
    assert len(pictures) == 5
    assert all(p["alt"] for p in pictures)
    thumbnail = client.get(pictures[0]["src"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    r, g, b = Image.open(io.BytesIO(thumbnail.content)).convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert r > g
    assert r > b


def test_a_picture_becomes_a_vector_in_the_address(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    answer = client.post("/query", data={"q": "", "top": "5"}, files={"file": colour_bytes("blue")})
    assert answer.history[0].status_code == 303
    assert "picture=" in str(answer.url)
    rows = list(csv.DictReader(io.StringIO(client.get(str(answer.url).replace("/?", "/answers.csv?")).text)))
    assert len(rows) == 5
    assert all("/blue/" in row["path"] for row in rows)
    words = client.post("/query", data={"q": "green", "minus": "0.2:blue"})
    assert str(words.url).endswith("/?q=green&minus=0.2%3Ablue")
    assert len(Seen(words.text).all("figure")) == 24


def test_more_like_this_and_exports(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    like = next(a["href"] for a in Seen(client.get("/?q=yellow").text).all("a") if "like=" in a["href"])
    data = client.get(like.replace("/?", "/answers.json?") + "&top=6").json()
    assert len(data["results"]) == 6
    assert data["results"][0]["score"] == pytest.approx(1, abs=1e-6)  # the picture itself
    assert sum("/yellow/" in r["path"] for r in data["results"]) >= 3


def test_metadata_narrows_the_answers_by_a_click(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    links = [a["href"] for a in Seen(client.get("/?q=red&top=60").text).all("a") if "where=" in a["href"]]
    pink = next(link for link in links if "pink" in link)
    narrowed = client.get(pink).text
    assert narrowed.count("<figure") == 10
    assert 'aria-current="true">test/pink' in narrowed


def test_marks_are_kept_in_the_index_and_rank_the_answers(page: tuple[TestClient, Path]) -> None:
    client, folder = page

    def entries(address: str) -> list[tuple[str, str]]:
        seen = Seen(client.get(address).text)
        numbers = [a["value"] for a in seen.all("input") if (a.get("type"), a.get("name")) == ("hidden", "entry")]
        return list(zip(numbers, (p["title"] for p in seen.all("p") if p.get("title")), strict=True))

    asked = "q=something&top=60"  # grey: no colour is nearer than another
    for number, path in entries(f"/?{asked}")[:40]:
        right = "1" if "/pink/" in path else "0"
        answer = client.post("/marks", data={"state": asked, "entry": number, "right": right})
        assert answer.status_code == 200
    marks = (folder / "marks.jsonl").read_text().splitlines()
    assert len(marks) == 40
    assert re.search(r'marks</a>\s+<a id="head"', client.get(f"/?{asked}").text), "two links, with a space between"
    shown = entries(f"/?{asked}&head=1")
    first = [path for _, path in shown[:10]]
    assert sum("/pink/" in path for path in first) >= 6  # a fifth of all is pink
    with zipfile.ZipFile(io.BytesIO(client.get(f"/head.zip?{asked}").content)) as archive:
        archive.extractall(folder.parent)
    assert read_about(folder.parent / "head")["classes"] == ["something", "not something"]
    assert client.get("/head.zip?q=red").status_code == 400  # nobody marked answers of it
    marked = client.get(f"/answers.coco.json?{asked}").json()
    wrong = sum(right is False for right in (json.loads(line)["right"] for line in marks))
    assert len(marked["images"]) - len(marked["annotations"]) == wrong
    number = entries(f"/?{asked}")[0][0]
    client.post("/marks", data={"state": asked, "entry": number, "right": ""})
    assert "39" in client.get(f"/?{asked}").text
    assert client.post("/marks", data={"state": asked, "entry": "x", "right": "1"}).status_code == 400
    assert client.post("/marks", data={"state": asked, "entry": "99999", "right": "1"}).status_code == 404
    evil = client.post(
        "/marks", data={"state": asked, "entry": number, "right": "1"}, headers={"origin": "http://e.vil"}
    )
    assert evil.status_code == 403


def test_a_selection_is_marked_at_once_and_exported_alone(page: tuple[TestClient, Path]) -> None:
    client, folder = page
    numbers = [a["value"] for a in Seen(client.get("/?q=red&top=60").text).all("input") if a.get("class") == "pick"]
    chosen = [numbers[40], numbers[3], numbers[50]]
    script = {"accept": "application/json"}
    given = {"state": "q=red", "entry": [*chosen, chosen[0]], "right": "1"}
    assert client.post("/marks", data=given, headers=script).json() == {"right": 3, "wrong": 0}
    marks = [json.loads(line) for line in (folder / "marks.jsonl").read_text().splitlines()]
    scores = {r["path"]: r["score"] for r in client.get("/answers.json?q=red&top=60").json()["results"]}
    assert [m["score"] for m in marks] == pytest.approx([scores[m["path"]] for m in marks], abs=1e-6)
    assert [m["rank"] for m in marks] == [41, 4, 51]
    answer = client.post("/marks", data={**given, "entry": chosen[:1], "right": "0"}, headers=script)
    assert answer.json() == {"right": 2, "wrong": 1}
    back = client.post("/marks", data={**given, "right": ""}, headers=script)
    assert back.json() == {"right": 0, "wrong": 0}
    lost = client.post("/marks", data={**given, "entry": [numbers[0], "99999"]}, headers=script)
    assert (lost.status_code, "99999" in lost.json()["message"]) == (404, True)
    assert client.post("/marks", data={**given, "entry": []}, headers=script).status_code == 400
    assert client.post("/marks", data=given, headers={**script, "origin": "http://e.vil"}).status_code == 403

    selection = {"state": "q=red", "entry": chosen}
    rows = list(csv.DictReader(io.StringIO(client.get("/answers.csv", params=selection).text)))
    assert len(rows) == 3  # of ranks 4, 41 and 51, although a page has 24
    assert {r["path"] for r in rows} == {
        r["path"] for r in client.get("/answers.json", params=selection).json()["results"]
    }
    assert {i["id"] for i in client.get("/answers.coco.json", params=selection).json()["images"]} == {
        int(entry.partition(".")[0]) for entry in chosen
    }
    assert client.get("/answers.csv", params={**selection, "entry": "x"}).status_code == 400
    assert client.get("/answers.csv", params={**selection, "entry": ["1"] * 1001}).status_code == 400


def test_further_pages_go_on_where_the_first_one_ends(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    shown, address = list[str](), "/?q=red"
    while address:
        seen = Seen(client.get(address).text)
        shown += [p["title"] for p in seen.all("p") if p.get("title")]
        address = next((a["href"] for a in seen.all("a") if a.get("id") == "more"), "")
    results = client.get("/answers.json?q=red&top=90").json()["results"]
    assert shown == [r["path"] for r in results]
    assert 'href="/answers.csv?q=red&amp;top=48"' in client.get("/?q=red&skip=24").text


def test_without_a_query_the_page_shows_photos_and_examples(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    seen = Seen(client.get("/").text)
    assert len(seen.all("figure")) == 24
    assert {"/?q=red", "/?q=pink"} <= {a["href"] for a in seen.all("a")}
    assert not any(a.get("name") == "entry" for a in seen.all("input"))  # nothing to mark
    narrowed = [p["title"] for p in Seen(client.get("/?where=folder%3Dtest%2Fpink").text).all("p") if p.get("title")]
    assert len(narrowed) == 10
    assert all("/pink/" in path for path in narrowed)


def test_a_picture_that_cannot_be_read_leaves_the_page(page: tuple[TestClient, Path]) -> None:
    answer = page[0].post("/query", data={"q": "red"}, files={"file": b"no picture"})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert answer.text.count("<figure") == 24


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EIO, 500), (errno.EROFS, 409), (errno.EACCES, 409)]
)
def test_a_full_disk_is_said_and_searches_go_on(
    page: tuple[TestClient, Path], monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    client, folder = page

    def full(*given: Any, **named: Any) -> None:
        raise OSError(number, os.strerror(number), "/srv/private/marks.jsonl")

    monkeypatch.setattr("diptych.search_index.notes.append", full)
    entry = Seen(client.get("/?q=red").text).all("figure")[0]["id"][1:]
    answer = client.post("/marks", data={"state": "q=red", "entry": entry, "right": "1"})
    assert answer.status_code == status
    assert os.strerror(number) in answer.json()["message"]
    assert "private" not in answer.text
    assert client.get("/?q=red").status_code == 200
    assert not (folder / "marks.jsonl").exists()


def test_the_slider_cuts_and_says_what_it_promises(page: tuple[TestClient, Path], tmp_path: Path) -> None:
    client, folder = page
    refused = client.get("/?q=red&at_least=0.8")
    assert refused.status_code == 200
    assert "No answers of text queries" in refused.text

    def slider() -> dict[str, Any]:
        return next(a for a in Seen(client.get("/?q=red").text).all("input") if a.get("id") == "at_least")

    assert "disabled" in slider()
    rows = ["query,path,right"]
    for i in range(20):
        colour = list(COLOURS)[i % 5]
        query = colour + " please" * (i // 5)
        found = client.get("/answers.json", params={"q": query, "top": "40"}).json()["results"]
        rows += [f"{query},{r['path']},{int(f'/{colour}/' in r['path'])}" for r in found]
    (tmp_path / "marks.csv").write_text("\n".join(rows))
    mark(folder, str(tmp_path / "marks.csv"), ColourBackbone(), Run())
    assert "disabled" not in slider()
    text = client.get("/?q=red&at_least=0.8&top=60").text
    assert "of the answers are expected to be right" in text
    assert " answers to 20 queries, marked by people)" in text
    assert "% likely right" in text
    assert 10 <= text.count("<figure") < 60
    api = client.post("/v1/search", json={"query": "red", "top": 60, "at_least": 0.8}).json()
    assert len(api["results"]) == text.count("<figure")
    assert api["cut"]["level"] == 0.8
    pages = [client.get(f"/?q=red&at_least=0.8&{part}").text for part in ("top=4", "top=4&skip=4", "top=60")]
    assert all("Above this cut" in page for page in pages)
    assert len({page.partition("Above this cut")[2].partition("<")[0] for page in pages}) == 1, "one cut for all pages"
    nothing = client.get("/?q=a+lighthouse&at_least=0.8")
    assert (nothing.status_code, nothing.text.count("<figure")) == (200, 0)
    assert "Nothing here looks like that" in nothing.text
    (nearest,) = re.findall(r"The nearest picture is (\d+) % likely right\.", nothing.text)
    (first, *_) = re.findall(r"(\d+) % likely right", client.get("/?q=a+lighthouse").text)
    assert 0 <= int(nearest) == int(first) < 80
    assert "The nearest picture" not in text
    assert client.post("/v1/search", json={"query": "a lighthouse", "at_least": 0.8}).json()["nothing_here"] is True
    assert '<a href="/?q=a+lighthouse">Show the nearest all the same</a>' in nothing.text


def test_the_page_tells_kinds_of_words_apart_as_the_command_does(
    page: tuple[TestClient, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pizza was 63 % likely right on the page, and 36 % for the same score in the command."""
    shipped = json.loads((files("diptych") / "assets" / "lite" / "cut.json").read_text(encoding="utf-8"))["backbones"]
    default = DefaultCut("lite", shipped["lite"])
    monkeypatch.setattr("diptych.tasks.search.calibration.default_cut", lambda _: default)
    client, _ = page
    for words, kind in (("a dog", "thing"), ("jumping", "other")):
        best = client.get("/answers.json", params={"q": words}).json()["results"][0]["score"]
        curve = shipped["lite"]["curves"][kind]
        (first, *_) = re.findall(r"(\d+) % likely right", client.get("/", params={"q": words}).text)
        assert int(first) == pytest.approx(100 * np.interp(best, curve["score"], curve["right"]), abs=0.51), words


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/?q=red&top=x", 400),
        ("/?q=red&where=nonsense", 400),
        ("/?where=nonsense", 400),
        ("/?q=red&skip=-1", 400),
        ("/?q=red&top=1001", 400),
        ("/?q=red&index=nope", 404),
        ("/?picture=%21%21", 400),
        ("/?like=123456", 404),
        ("/photo/mine/123456", 404),
        (f"/photo/mine/{10**30}", 404),
        (f"/look/mine/{10**30}?q=red", 404),
        ("/?q=red&where=a%00b%3D3", 400),
        ("/photo/nope/1", 404),
        ("/photo/..%2f..%2fetc/1", 404),
        ("/photo/mine/abc", 400),
        ("/answers.json", 400),
    ],
)
def test_addresses_that_mean_nothing_get_a_sentence(page: tuple[TestClient, Path], path: str, status: int) -> None:
    assert page[0].get(path).status_code == status


def test_hostile_words_are_text(page: tuple[TestClient, Path]) -> None:
    text = page[0].get("/", params={"q": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_a_server_without_indexes_says_what_it_offers(model: ServedModel) -> None:
    with TestClient(server(Settings(), Content((model,))), base_url="http://127.0.0.1") as client:
        assert "No index is served" in client.get("/").text


def test_reports_of_a_project_are_shown_in_a_sandbox_and_nothing_else_is(model: ServedModel, tmp_path: Path) -> None:
    (tmp_path / "board out").mkdir()
    (tmp_path / "board out" / "report.html").write_text("<h1>Board</h1><script>alert(1)</script>")
    (tmp_path / "secret.txt").write_text("secret")
    content = Content((model,), reports=Project.of(tmp_path).reports)
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1") as client:
        (link,) = [a["href"] for a in Seen(client.get("/").text).all("a") if a["href"].startswith("/reports/")]
        answer = client.get(link)
        assert "<h1>Board</h1>" in answer.text
        assert answer.headers["content-security-policy"].endswith("sandbox")
        for path in (
            "secret.txt",
            "../secret.txt",
            "..%2f..%2fetc%2fpasswd",
            "board%20out/../secret.txt",
            "%2fetc%2fpasswd",
        ):
            assert client.get(f"/reports/{path}").status_code == 404


def test_the_page_says_that_words_are_not_english_and_an_error_counts_no_pictures(
    page: tuple[TestClient, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = page
    english = replace(ColourBackbone().spec, languages=("en",))
    monkeypatch.setattr(ColourBackbone, "spec", property(lambda self: english))
    assert "colours reads only English, and grüne Wiese has no English noun" in client.get("/?q=grüne Wiese").text
    assert "reads English" not in client.get("/?q=a red meadow").text
    assert "90 pictures in mine" in client.get("/").text
    broken = client.get("/?q=red&at_least=2").text
    assert "at_least must be a number in 0 to 0.999" in broken
    assert " pictures in mine" not in broken


def pictures(text: str) -> list[str]:
    return [a["src"] for a in Seen(text).all("img")]


def test_an_index_that_is_made_anew_shows_its_own_pictures(
    page: tuple[TestClient, Path], tmp_path: Path, model: ServedModel
) -> None:
    """The number of an entry is then another picture's, here and in what a browser keeps."""
    client, folder = page
    before = pictures(client.get("/?q=red").text)
    assert client.get(before[0]).headers["cache-control"].startswith("max-age")
    old = client.get(before[0]).content
    shutil.rmtree(folder)
    others = tmp_path / "others"
    others.mkdir()
    for colour in ("blue", "green"):
        (others / f"{colour}.png").write_bytes(colour_bytes(colour))
    index(open_records(str(others)), ColourBackbone(), Run(), folder)
    after = pictures(client.get("/?q=blue").text)
    assert {src.partition("?")[0] for src in after} <= {f"/photo/mine/{n}" for n in range(1, 91)}
    assert not set(before) & set(after)
    for number in (1, 2):
        name = Image.open(io.BytesIO(client.get(f"/photo/mine/{number}").content)).convert("RGB").getpixel((0, 0))
        wanted = sorted(("blue", "green"))[number - 1]
        assert max(abs(a - b) for a, b in zip(name, COLOURS[wanted], strict=True)) < 12
    assert client.get(f"/photo/mine/1?v={before[0].rpartition('v=')[2]}").status_code == 404
    assert all(client.get(src).content != old for src in after)
    assert "no-store" in client.get("/photo/mine/1").headers["cache-control"]


def test_an_empty_file_is_refused_and_a_form_without_a_file_is_not(page: tuple[TestClient, Path]) -> None:
    client, _ = page
    empty = client.post("/query", data={"q": ""}, files={"file": ("mine.jpg", b"")})
    assert (empty.status_code, "The picture cannot be read: empty file." in empty.text) == (422, True)
    none = client.post("/query", data={"q": "red"}, files={"file": ("", b"")})
    assert (none.status_code, none.url.query) == (200, b"q=red")


def test_a_mark_of_a_page_before_the_index_was_made_anew_is_refused(
    page: tuple[TestClient, Path], tmp_path: Path
) -> None:
    """Its number is another picture's by then."""
    client, folder = page
    forms = [a for a in Seen(client.get("/?q=red").text).all("input") if a.get("name") == "entry"]
    given = {"state": "q=red", "entry": forms[0]["value"], "right": "1"}
    assert client.post("/marks", data=given, headers={"Accept": "application/json"}).json() == {"right": 1, "wrong": 0}
    shutil.rmtree(folder)
    (tmp_path / "photos").rename(tmp_path / "moved")
    index(open_records(str(tmp_path / "moved")), ColourBackbone(), Run(), folder)
    refused = client.post("/marks", data=given, headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "index_changed")
    assert not (folder / "marks.jsonl").exists()
    given["entry"] = given["entry"].partition(".")[0]  # a program may name the number alone
    assert client.post("/marks", data=given, headers={"Accept": "application/json"}).status_code == 200
