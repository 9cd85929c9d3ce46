from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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
from diptych.serve.settings import Settings
from diptych.tasks.search.ask import search
from diptych.tasks.search.index import index
from diptych.tasks.search.term import Term
from tests.support.colours import ColourBackbone
from tests.support.servers.serving import colour_uri


def post(client: Any, query: Any, **given: Any) -> Any:
    return client.post("/v1/search", json={"query": query, **given})


def test_answers_are_those_of_the_command(client: Any, index_folder: Path) -> None:
    terms = [Term("red", 1.0), Term("blue", -0.3)]
    told = search(index_folder, terms, ColourBackbone(), Run(), k=12).as_dict() | {"remarks": []}
    parts = [{"text": "red"}, {"text": "blue", "weight": -0.3}]
    assert post(client, parts, top=12, index="photos").json() == told
    assert post(client, "red", top=3).json()["results"][0]["path"].endswith("png")


def test_words_and_pictures_add_up(client: Any) -> None:
    answer = post(client, [{"image": colour_uri("green")}, {"text": "green", "weight": 0.5}], top=5).json()
    assert all("/green/" in r["path"] for r in answer["results"])
    assert [t["kind"] for t in answer["query"]] == ["image", "text"]
    alone = post(client, colour_uri("green"), top=5).json()
    assert [t["kind"] for t in alone["query"]] == ["image"]
    assert alone["results"] == post(client, [{"image": colour_uri("green")}], top=5).json()["results"]


def test_words_may_be_a_list_as_on_the_command_line(client: Any) -> None:
    answer = post(client, ["red", {"text": "blue", "weight": -0.3}], top=5).json()
    assert answer == post(client, [{"text": "red"}, {"text": "blue", "weight": -0.3}], top=5).json()
    assert [term["value"] for term in answer["query"]] == ["red", "blue"]


def test_conditions_hold(client: Any) -> None:
    answer = post(client, "red", where=["name~*/blue/*"], top=3).json()
    assert all("/blue/" in r["path"] for r in answer["results"])


@pytest.mark.parametrize(
    ("query", "more", "status"),
    [
        ("", {}, 400),
        ([], {}, 400),
        ([{"text": "a", "image": "b"}], {}, 400),
        ([{"text": "red", "weight": 0}], {}, 400),
        ([{"text": "red"}, {"text": "red", "weight": -1}], {}, 400),
        ("red", {"top": 0}, 400),
        ("red", {"top": 100_000}, 400),
        ("red", {"where": ["nonsense"]}, 400),
        ("red", {"captions": 2}, 400),
        ("red", {"index": "no-such"}, 404),
        ("red", {"index": "../../etc"}, 404),
    ],
)
def test_searches_that_mean_nothing_get_a_sentence(client: Any, query: Any, more: Any, status: int) -> None:
    answer = post(client, query, **more)
    assert answer.status_code == status
    assert answer.json()["message"].endswith(".")
    assert "{" not in answer.json()["message"]


def test_photos_that_were_deleted_are_no_answers(client: Any, index_folder: Path) -> None:
    first = post(client, "red", top=1).json()["results"][0]["path"]
    hidden = Path(first).with_suffix(".hidden")
    Path(first).rename(hidden)
    try:
        answer = post(client, "red", top=1).json()
    finally:
        hidden.rename(first)
    assert answer["results"][0]["path"] != first
    assert answer["missing"] == [first]
    assert answer["remarks"][0].startswith("1 entry is left out")


def test_only_the_ratio_of_weights_counts_whatever_their_size(client: Any) -> None:
    def scores(*weights: float) -> list[float]:
        query = [{"text": text, "weight": w} for text, w in zip(("red", "blue"), weights, strict=False)]
        answer = client.post("/v1/search", json={"query": query, "top": 3})
        assert answer.status_code == 200, answer.text
        return [result["score"] for result in answer.json()["results"]]

    for size in (1e-300, 1e300):
        assert scores(size) == scores(1.0)
        assert scores(2 * size, size) == scores(2.0, 1.0)
    page = client.get("/", params={"q": "1e300:red; 1e300:blue"})
    assert page.status_code == 200
    assert "nan" not in page.text


def test_an_index_that_is_gone_or_another_models_gets_a_sentence(
    colours: Path, tmp_path: Path, model: ServedModel
) -> None:
    folder, records = tmp_path / "mine", open_records(str(colours / "test"))
    index(records, ColourBackbone(), Run(), folder)
    content = Content((model,), {"mine": open_index(folder, [model])})
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1") as client:
        assert post(client, "red").status_code == 200
        shutil.rmtree(folder)
        for answer in (post(client, "red"), client.get("/photo/mine/1"), client.get("/map")):
            assert answer.status_code == 404
            assert answer.json()["message"].startswith("The index mine is gone: There is no index at ")
        with Index.create(folder, {"dim": 7, "fingerprint": "x", "backbone": "another"}) as other:
            other.add([Entry("a")], {"image": (np.array([0]), np.ones((1, 7), np.float32))})
        for answer in (post(client, "red"), client.get("/photo/mine/1"), client.get("/map")):
            assert answer.status_code == 409
            assert "was made again with another, and the server answers it with colours" in answer.json()["message"]
        assert "start the server again" in client.get("/?q=red").text
