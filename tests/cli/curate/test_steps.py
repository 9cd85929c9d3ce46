from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diptych.data.formats.tars import TarItem
from tests.support.colours import ColourBackbone, coloured
from tests.support.servers.agent import COLOURS as AGENT_COLOURS
from tests.support.servers.agent import agent_server
from tests.support.slides import write_slide
from tests.support.work.cluster import write_tars

Cli = Callable[..., Any]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool.txt").write_text("\n".join("a cat" if i % 10 else "an axolotl" for i in range(500)) + "\nIMG_1")
    (tmp_path / "names.txt").write_text("cat\naxolotl\ndog")
    return tmp_path / "pool.txt"


def test_plan_merge_and_apply(diptych: Cli, pool: Path, tmp_path: Path) -> None:
    got = diptych("curate", "plan", pool, "--metadata", "names.txt", "--json")
    assert got.code == 0
    assert (got.data["texts"], got.data["matched"], got.data["entries_met"]) == (501, 500, 2)
    assert diptych("curate", "plan", pool, "--metadata", "names.txt").code == 2
    twice = diptych(
        "curate", "plan", pool, "--metadata", "names.txt", "--merge", "plan.parquet", "--out", "two.parquet", "--json"
    )
    assert twice.data["texts"] == 1002
    got = diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "50", "--json")
    assert got.code == 0
    rows = pq.read_table(tmp_path / "curated" / "part-00000.parquet").to_pylist()
    assert sum("axolotl" in r["title"] for r in rows) == 50
    assert 20 < sum("cat" in r["title"] for r in rows) < 90
    assert diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "50").code == 2
    got = diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "inf", "--out", "all")
    assert "500 of 501 kept" in got.err


def test_broken_items_are_named_and_the_exit_code_says_so(
    diptych: Cli, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    coloured(tmp_path / "red.png", "red", 0)
    rows = "".join(f",a cat {i}\n" for i in range(12))
    (tmp_path / "t.csv").write_text("filepath,title\nred.png,a red cat\n" + rows)
    for method, words in (("metaclip", ("--metadata", "names.txt")), ("clip-score", ("--share", "1"))):
        more = words if method == "metaclip" else ()
        got = diptych("curate", "plan", "t.csv", "--method", method, *more, "--out", f"{method}.plan")
        assert got.code == 3
        assert "12 skipped:" in got.err
        assert "Row 2 of" in got.err
        assert "and 2 more" in got.err
        got = diptych(
            "curate",
            "apply",
            "t.csv",
            "--method",
            method,
            *words,
            "--plan",
            f"{method}.plan",
            "--out",
            method,
            "--json",
        )
        assert got.code == 3
        assert (got.data["seen"], got.data["kept"], got.data["broken"], len(got.data["skipped"])) == (13, 1, 12, 10)
        assert got.data["skipped"][0]["reason"] == "has no filepath or no title"
        assert "and 2 more" in got.err
        with (tmp_path / method / "skipped.csv").open() as file:
            rows_listed = list(csv.DictReader(file))
        assert len(rows_listed) == 12, "the file names all"
        assert {row["reason"] for row in rows_listed} == {"has no filepath or no title"}


def test_resume_of_what_is_finished_is_a_success(diptych: Cli, pool: Path, tmp_path: Path) -> None:
    words = ("--metadata", "names.txt", "--json")
    made = diptych("curate", "plan", pool, *words)
    written = (tmp_path / "plan.parquet").read_bytes()
    again = diptych("curate", "plan", pool, *words, "--resume")
    assert (made.code, again.code) == (0, 0), again.err
    assert again.data["remarks"][0].startswith("plan.parquet is finished")
    assert again.data | {"remarks": []} == made.data
    assert "is finished" in again.err
    assert (tmp_path / "plan.parquet").read_bytes() == written
    made, again = (diptych("curate", "apply", pool, *words, *more) for more in ((), ("--resume",)))
    assert (made.code, again.code, again.data) == (0, 0, made.data)


def test_metaclip_reads_no_picture_of_a_tar(
    diptych: Cli, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, held = write_tars(tmp_path / "tars", 2, 5), set[str]()
    real = TarItem.text
    monkeypatch.setattr(TarItem, "text", lambda item, *a: held.update(item.members) or real(item, *a))
    assert diptych("curate", "plan", spec, "--metadata", "names.txt").code == 0
    got = diptych("curate", "apply", spec, "--metadata", "names.txt", "--json")
    assert (got.code, got.data["kept"], held) == (0, 10, {"txt"})
    assert "10 of 10 kept: nothing was left out with these settings\n" in got.err
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    got = diptych("curate", "plan", spec, "--method", "clip-score", "--out", "scores", "--json")
    assert (got.code, got.data["broken"]) == (3, 1)  # its picture is
    assert len(got.data["skipped"]) == 1
    assert got.data["skipped"][0]["path"] in got.err
    assert got.data["skipped"][0]["reason"] in got.err
    merged = diptych("curate", "plan", spec, "--method", "clip-score", "--merge", "scores", "--out", "two", "--json")
    assert (merged.data["broken"], len(merged.data["skipped"])) == (2, 1), "named are those of this pass"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["plan", "absent.txt"], 2, "no file"),
        (["plan", "pool.xml"], 2, "no file or folder"),
        (["plan", "pool.txt", "--method", "gda"], 2, "no curator"),
        (["apply", "pool.txt", "--t", "many"], 2, "--t takes"),
        (["apply", "pool.txt", "--t", "0"], 2, "at least 1"),
        (["apply", "pool.txt", "--plan", "absent.parquet"], 2, "write one first, from pool.txt, by the step plan"),
        (["pool.txt"], 2, "say 'diptych curate plan pool.txt'"),
    ],
)
def test_errors_are_one_sentence(diptych: Cli, pool: Path, words: list[str], code: int, says: str) -> None:
    got = diptych("curate", *words)
    assert got.code == code
    assert says in got.err


def test_a_plan_that_was_asked_wrongly_blocks_no_other(diptych: Cli, tmp_path: Path) -> None:
    (tmp_path / "pool.txt").write_text("a cat\na dog\n")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert diptych("curate", "plan", "pool.txt", "--metadata", "nope").code == 2
    assert not (tmp_path / "plan.parquet.parts").exists()
    assert diptych("curate", "plan", "pool.txt", "--metadata", "names.txt").code == 0


def test_a_table_of_captions_needs_no_columns_named(diptych: Cli, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("path,caption\na.jpg,a black cat\nb.jpg,a dog\n")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    got = diptych("curate", "plan", "captions.csv", "--metadata", "names.txt", "--json")
    assert got.code == 0, got.err
    assert (got.data["texts"], got.data["matched"]) == (2, 2)


def test_a_folder_of_articles_becomes_labelled_pairs(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    papers = tmp_path / "papers"
    papers.mkdir()
    figures = ""
    for i in range(8):
        coloured(papers / f"f{i}.png", "red" if i < 5 else "blue", i)
        with Image.open(papers / f"f{i}.png") as picture:
            larger = picture.convert("RGB").resize((40, 40))
        larger.save(papers / f"f{i}.png")
        caption = "" if i == 7 else f"<caption><p>Figure {i}.</p></caption>"
        figures += f'<fig id="F{i}">{caption}<graphic xlink:href="f{i}"/></fig>'
    (papers / "a.nxml").write_text(
        f'<article xmlns:xlink="http://www.w3.org/1999/xlink"><body>{figures}'
        '<fig><caption><p>Lost.</p></caption><graphic xlink:href="lost"/></fig></body></article>'
    )
    got = diptych("curate", "plan", "papers", "--method", "biomedica", "--clusters", "2", "--json")
    assert got.code == 3  # the lost picture
    assert (got.data["pairs"], got.data["broken"]) == (9, 1)
    assert (got.data["captioned"], got.data["clusters"]) == (7, 2)
    assert diptych("curate", "looks", "--count", "2", "--json").data == {"out": "looks.csv", "clusters": 2, "looks": 4}
    assert diptych("curate", "looks").code == 2
    rows = (tmp_path / "looks.csv").read_text().splitlines()
    labelled = [row + ("warm" if int(row[-6]) < 5 else "cold") for row in rows[1:]]
    (tmp_path / "looks.csv").write_text("\n".join([rows[0], *labelled]))
    asked = ("--method", "biomedica", "--votes", "looks.csv", "--only", "warm", "--json")
    got = diptych("curate", "apply", "papers", *asked)
    assert (got.data["seen"], got.data["kept"], got.data["broken"]) == (9, 5, 1)
    kept = pq.read_table(tmp_path / "curated" / "part-00000.parquet").to_pylist()
    assert [Path(row["filepath"]).name for row in kept] == [f"f{i}.png" for i in range(5)]
    assert kept[0]["title"] == "Figure 0."
    assert kept[0]["labels"] == ["warm"]
    got = diptych("curate", "apply", "papers", "--method", "biomedica", "--drop", "cold", "--out", "two")
    assert (got.code, "come from votes" in got.err) == (2, True)


def test_slides_become_captioned_pairs(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    pixels = np.full((3 * 672, 4 * 672, 3), 244, np.uint8)
    for i, colour in enumerate(("red", "green", "blue", "red")):
        y, x = divmod(i, 2)
        pixels[y * 672 : (y + 1) * 672, x * 672 : (x + 1) * 672] = AGENT_COLOURS[colour]
    write_slide(tmp_path / "slide.tif", pixels)
    (tmp_path / "words.txt").write_text("something blue\n")
    plan = ("--method", "pathgen", "--attributes", "words.txt", "--top", "1", "--sampled", "3", "--out", "p.json")
    got = diptych("curate", "plan", "slide.tif", *plan, "--json")
    assert (got.data["slides"], got.data["tiles"], got.data["by_attribute"]) == (1, 4, 1)
    assert got.data["picked"] == 3  # two of the four tiles are alike
    asked = ("curate", "apply", "slide.tif", "--method", "pathgen", "--plan", "p.json")
    assert "give --agent" in diptych(*asked).err
    with agent_server() as address:
        got = diptych(*asked, "--agent", f"seer@{address}", "--json")
    assert (got.code, got.data["seen"], got.data["kept"]) == (0, 4, 2)  # the judge says no to blue
    rows = pq.read_table(tmp_path / "curated" / "part-00000.parquet").to_pylist()
    assert [row["title"].split()[-1] for row in rows] == ["red.", "green."]
    assert rows[0]["slide"].endswith("slide.tif")
    assert (rows[0]["x"], rows[0]["y"], rows[0]["side"]) == (0, 0, 672)
    assert [w["value"] for w in rows[0]["written"]][1:] == ["The tile is red.", "The tile is stained."]
    assert rows[0]["written"][0]["writer"].startswith("seer at 127.0.0.1")
    with Image.open(tmp_path / "curated" / rows[0]["filepath"]) as picture:
        assert picture.size == (336, 336)
    got = diptych("curate", "plan", "slide.tif", "--method", "clip-score", "--out", "other")
    assert (got.code, "tiles of slides have no texts" in got.err) == (2, True)
    assert "'diptych check', which finds those that look the same" in " ".join(got.err.split())
    (tmp_path / "pool.txt").write_text("a cat\n")
    got = diptych("curate", "plan", "pool.txt", "--method", "pathgen", "--out", "other")
    assert (got.code, "makes pairs from slides" in got.err) == (2, True)
