from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.colours import ColourBackbone

Cli = Callable[..., Any]


@pytest.fixture
def photos(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    folder = tmp_path / "photos"
    for name in ("red", "green", "blue"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (30, 20), name).save(folder / name / f"{name}.png")
    return folder


def paths(got: Any) -> list[str]:
    return [Path(r["path"]).name for r in got.data["results"]]


def test_photos_are_found_by_words_by_a_photo_by_both_and_away_from_one(diptych: Cli, photos: Path) -> None:
    got = diptych("index", photos, "--out", "idx")
    assert got.code == 0
    assert "3 entries in idx: 3 added, 0 unchanged" in got.out
    assert paths(diptych("search", "idx", "red", "--json"))[0] == "red.png"
    assert paths(diptych("search", "idx", photos / "blue" / "blue.png", "--json", "-k", "1")) == ["blue.png"]
    both = diptych("search", "idx", "red", f"3:{photos / 'green' / 'green.png'}", "--json")
    assert paths(both)[:2] == ["green.png", "red.png"]
    assert both.data["query"][1] == {"value": str(photos / "green" / "green.png"), "weight": 3.0, "kind": "image"}
    assert paths(diptych("search", "idx", "red", "green", "--minus", "0.9:red", "--json"))[0] == "green.png"
    assert both.data["exact"] is True


def test_tables_bring_captions_and_metadata_to_filter_by_and_a_page_shows_pictures(
    diptych: Cli, photos: Path, tmp_path: Path
) -> None:
    (photos / "t.csv").write_text("path,caption,year\nred/red.png,blue,1990\ngreen/green.png,red,2001\n,green,1800\n")
    assert diptych("index", photos / "t.csv", "--out", "idx").code == 0
    assert paths(diptych("search", "idx", "red", "--json"))[0] == "red.png"
    assert paths(diptych("search", "idx", "red", "--captions", "1", "--json"))[0] == "green.png"
    assert paths(diptych("search", "idx", "green", "--captions", "0.9", "--json"))[0] == "t.csv[2]"
    late = diptych("search", "idx", "red", "--where", "year>1990", "--captions", "0.5", "--json")
    assert paths(late) == ["green.png"]
    assert late.data["results"][0]["metadata"] == {"year": 2001}
    got = diptych("search", "idx", "<b>red", "--html", "page.html")
    assert got.code == 0
    page = Path("page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "<b>red" not in page
    assert "<script" not in page
    assert diptych("search", "idx", "red", "--html", "page.html").code == 2
    assert "Nothing meets" in diptych("search", "idx", "red", "--where", "year=7").err


def test_a_search_takes_folder_and_words_in_either_order(diptych: Cli, photos: Path) -> None:
    assert diptych("index", photos, "--out", "idx").code == 0
    for words in (("idx", "red"), ("red", "idx")):
        answer = diptych("search", *words, "--json", "-k", "1")
        assert (answer.code, Path(answer.data["results"][0]["path"]).name) == (0, "red.png")
    assert answer.data["remarks"] == []
    assert "--top must be at least 1" in diptych("search", "idx", "red", "--top", "0").err


def test_photos_are_named_as_one_opens_them_from_where_one_stands(
    diptych: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "red" / "red.png").rename(photos / "red" / "a red one.png")
    assert diptych("index", "photos", "--out", "idx").code == 0
    there = diptych("search", "idx", "red", "--top", "1")
    assert there.out.split("  ", 1)[1].rstrip() == "photos/red/a red one.png"
    assert diptych("search", "idx", "red", "--json", "-k", "1").data["results"][0]["path"] == str(
        photos / "red" / "a red one.png"
    )
    monkeypatch.chdir(photos / "red")
    assert diptych("search", "../../idx", "red", "--top", "1").out.split("  ", 1)[1].rstrip() == "a red one.png"
    monkeypatch.chdir(photos / "blue")
    away = diptych("search", "../../idx", "red", "--top", "1").out.split("  ", 1)[1].rstrip()
    assert away == "../red/a red one.png"


def test_words_without_quotes_are_said_to_be_several_texts(diptych: Cli, photos: Path) -> None:
    assert diptych("index", photos, "--out", "idx").code == 0
    said = "3 texts are added up: write several words of one text as one, as in 'a red car'."
    assert f"{said}\n" in diptych("search", "idx", "a", "red", "car").err
    assert said in diptych("search", "idx", "a", "red", "car", "--json").data["remarks"]
    for words in (("a red car",), ("a red car", "green"), ("2:red", "green"), ("red", "--minus", "green")):
        assert "added up" not in diptych("search", "idx", *words).err


def test_photos_that_were_deleted_are_no_answers(diptych: Cli, photos: Path) -> None:
    import diptych as package

    assert diptych("index", photos, "--out", "idx").code == 0
    (photos / "red" / "red.png").unlink()
    answer = diptych("search", "idx", "red", "--json", "-k", "1")
    assert paths(answer) != ["red.png"]
    assert answer.data["missing"] == [str(photos / "red" / "red.png")]
    assert answer.data["remarks"][0].startswith("1 entry is left out: its photo is no longer there (")
    with pytest.warns(UserWarning, match="1 entry is left out"):
        results = package.search("idx", "red", top=3)
    assert "red.png" not in [Path(path).name for path in results.paths]
    assert "1 entry is left out" in results.remarks[0]


def test_answers_are_written_as_a_table_for_a_spreadsheet(diptych: Cli, photos: Path) -> None:
    (photos / "t.csv").write_text("path,caption,price\nred/red.png,größe,5\ngreen/green.png,b,7\n", "utf-8")
    assert diptych("index", photos / "t.csv", "--out", "idx").code == 0
    got = diptych("search", "idx", "red", "--out", "answers.csv")
    assert got.code == 0
    with Path("answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert (Path(rows[0]["path"]).name, rows[0]["caption"], rows[0]["price"]) == ("red.png", "größe", "5")
    assert float(rows[0]["score"]) > float(rows[1]["score"])
    again = diptych("search", "idx", "red", "--out", "answers.csv")
    assert (again.code, "answers.csv exists" in again.err) == (2, True)
    assert diptych("search", "idx", "red", "--out", "page.html").code == 0
    assert "<img" in Path("page.html").read_text()
    assert diptych("search", "idx", "red", "--out", "a.json").code == 0
    assert len(json.loads(Path("a.json").read_text())["results"]) == 2
    got = diptych("search", "idx", "red", "--out", "answers.xls")
    assert (got.code, "--out writes .csv, .json or .html, not 'answers.xls'" in " ".join(got.err.split())) == (2, True)
