"""The tasks and the server do with an index in a vector database what they do with one in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from diptych.core import DataError, Run, UsageError
from diptych.data.load import open_records
from diptych.search_index.opening import index_at
from diptych.tasks.search.ask import Answer, search
from diptych.tasks.search.cut import mark
from diptych.tasks.search.export import export
from diptych.tasks.search.index import index, remove
from diptych.tasks.search.marks import PEOPLE, read_marks
from diptych.tasks.search.term import Term
from tests.support.colours import COLOURS, ColourBackbone, pale_table

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 100 coloured pictures with a caption and a class each; some of them pale."""
    return pale_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module", params=["lance", "qdrant"])
def places(
    request: pytest.FixtureRequest, table: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path]]:
    """The same index at an address and in a folder."""
    if find_spec({"lance": "lance", "qdrant": "qdrant_client"}[request.param]) is None:
        pytest.skip(f"needs the extra {request.param!r}")
    base = tmp_path_factory.mktemp("places")
    with pytest.MonkeyPatch.context() as patch:
        address = Path(f"lance:{base}/lance")
        if request.param == "qdrant":
            from qdrant_client import QdrantClient

            client = QdrantClient(":memory:")
            patch.setattr("diptych.search_index.qdrant_database.connect", lambda url: client)
            address = Path("qdrant://localhost:6333/pictures")
        for out in (address, base / "folder"):
            report = index(open_records(str(table)), ColourBackbone(), Run(), out)
            assert (report.entries, report.added, report.unchanged) == (100, 100, 0)
        yield address, base / "folder"


def found(place: Path, **more: Any) -> Answer:
    return search(place, [Term("red")], ColourBackbone(), Run(), k=more.pop("k", 12), **more)


def rows(answer: Answer) -> list[tuple[str, float]]:
    return sorted((f.entry.name, round(f.score, 4)) for f in answer.results)


@pytest.mark.parametrize("more", [{}, {"weights": {"image": 0.6, "text": 0.4}}, {"where": ["kind!=red", "number<50"]}])
def test_answers_are_those_of_the_folder(places: tuple[Path, Path], more: Any) -> None:
    address, folder = (found(place, **more) for place in places)
    assert rows(address) == rows(folder)
    assert (address.entries, address.recall) == (100, None)
    assert address.index.startswith(("lance:/", "qdrant://localhost:6333/pictures"))


def test_what_is_unchanged_is_not_read_again(places: tuple[Path, Path], table: Path) -> None:
    again = index(open_records(str(table)), ColourBackbone(), Run(), places[0])
    assert (again.added, again.unchanged, again.encoded) == (0, 100, 0)
    with pytest.raises(UsageError, match="indexed with"):
        index(open_records(str(table)), ColourBackbone(name="other"), Run(precision="bf16"), places[0])


def test_marks_and_the_cut_are_those_of_the_folder(places: tuple[Path, Path], table: Path) -> None:
    with pytest.raises(DataError, match="No answers of text queries"):
        found(places[0], at_least=0.8)
    lines = ["query,path,right"]
    for i in range(25):
        colour = list(COLOURS)[i % 5]
        lines += [f"{colour} {i},{table.parent / f'{j}.png'},{int(j % 5 == i % 5)}" for j in range(0, 60, 3)]
    (table.parent / "marks.csv").write_text("\n".join(lines))
    reports = [mark(place, str(table.parent / "marks.csv"), ColourBackbone(), Run()) for place in places]
    assert reports[0] == reports[1]
    assert reports[0]["marks"] == 500
    assert {(m.query, m.path, m.right) for m in read_marks(places[0])} == {
        (m.query, m.path, m.right) for m in read_marks(places[1])
    }
    cuts = [found(place, at_least=0.6, k=50) for place in places]
    assert rows(cuts[0]) == rows(cuts[1])
    assert 0 < len(cuts[0].results) < 50
    for place in places:
        mark(place, "captions", ColourBackbone(), Run())
    assert {m.source for m in read_marks(places[0])} == {PEOPLE, "captions"}


def test_an_export_of_a_database_is_refused(places: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is open to other tools as it is"):
        export(places[0], tmp_path / "copy.parquet")


def test_the_server_searches_browses_and_takes_marks(places: tuple[Path, Path], table: Path) -> None:
    for package in ("fastapi", "httpx"):
        pytest.importorskip(package, reason="needs the extra 'serve' and httpx")
    from starlette.testclient import TestClient

    from diptych.api.model import Model
    from diptych.serve.assembly import Content, server
    from diptych.serve.model import ServedModel
    from diptych.serve.opening import open_index
    from diptych.serve.settings import Settings

    model = ServedModel("colours", Model(ColourBackbone(), Run()))
    opened = open_index(places[0], [model])
    assert opened.name in ("lance", "pictures")
    with TestClient(server(Settings(), Content((model,), {"it": opened})), base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/search", json={"query": "red", "top": 4, "where": ["kind=red"]})
        assert answer.status_code == 200, answer.text
        best = answer.json()["results"]
        assert [r["path"] for r in best] == [f.entry.name for f in found(places[0], k=4, where=["kind=red"]).results]
        browsing = client.get("/").text
        assert browsing.count("<figure") == 24
        page = client.get("/?q=red&top=5").text
        assert page.count("<figure") == 5
        with index_at(places[0]) as made:
            number = made.numbers([best[0]["path"]])[best[0]["path"]]
        assert f'value="{number}.' in page
        assert client.get(f"/photo/it/{number}").headers["content-type"] == "image/jpeg"
        assert "kind%3Dred" in client.get(f"/?like={number}").text
        for place, right in ((number, "1"), (made.numbers([str(table.parent / "1.png")]).popitem()[1], "0")):
            response = client.post("/marks", data={"state": "q=scarlet", "entry": str(place), "right": right})
            assert response.status_code in (200, 303)
        assert [(m.path, m.right) for m in read_marks(places[0]) if m.query == "scarlet"] == [
            (best[0]["path"], True), (str(table.parent / "1.png"), False)
        ]  # fmt: skip
        assert client.get("/?q=scarlet&head=1&top=5").text.count("<figure") == 5
        assert client.get("/head.zip?q=scarlet").status_code == 200


def test_entries_are_removed_by_a_pattern_and_pruned(places: tuple[Path, Path], table: Path, tmp_path: Path) -> None:
    left = remove(places[0], ["*/9?.png", str(table.parent / "5.png")])
    assert (left.removed, left.entries) == (11, 89)
    with pytest.raises(DataError, match=r"No entry of .* matches"):
        remove(places[0], ["*/9?.png"])
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        shutil.copy(table.parent / f"{i}.png", photos)
    index(open_records(str(photos)), ColourBackbone(), Run(), places[0])
    (photos / "1.png").unlink()
    pruned = index(open_records(str(photos)), ColourBackbone(), Run(), places[0], prune=[str(photos)])
    assert (pruned.removed, pruned.entries) == (1, 91)
