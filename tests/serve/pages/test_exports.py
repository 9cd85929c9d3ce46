from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from diptych.serve.pages.exports import as_coco, as_csv, zipped
from diptych.serve.pages.finding import Contents, Tile


@pytest.fixture
def found(tmp_path: Path) -> Contents:
    for i in range(3):
        Image.new("RGB", (20, 10 + i)).save(tmp_path / f"{i}.png")
    marked = {0: True, 1: False}
    tiles = [
        Tile(7 + i, f"{i}.png", str(tmp_path / f"{i}.png"), "", "=1+1", "", 0.5 - i / 10, (), 0.25, marked.get(i))
        for i in range(4)  # the last one is gone
    ]
    return Contents(tuple(tiles))


def test_coco_is_read_by_pycocotools_and_leaves_wrong_answers_without_annotation(
    found: Contents, tmp_path: Path
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    (tmp_path / "a.json").write_text(json.dumps(as_coco(found, "a red car")))
    with contextlib.redirect_stdout(io.StringIO()):
        read = coco.COCO(str(tmp_path / "a.json"))
    assert [c["name"] for c in read.loadCats(read.getCatIds())] == ["a red car"]
    assert sorted(read.getImgIds()) == [7, 8, 9]
    assert read.dataset["info"]["unreadable"] == 1
    assert {a["image_id"]: a["bbox"] for a in read.loadAnns(read.getAnnIds())} == {7: [0, 0, 20, 10], 9: [0, 0, 20, 12]}


def test_csv_has_a_line_an_answer_and_no_formula(found: Contents) -> None:
    lines = as_csv(found).splitlines()
    assert lines[0] == "path,score,right,caption,marked"
    assert lines[1].endswith(",0.500000,0.2500,'=1+1,1")
    assert [line[-2:] for line in lines[1:]] == [",1", ",0", "1,", "1,"]


def test_a_zip_holds_the_files() -> None:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(zipped({"head/a": b"x", "head/b": b""}))) as archive:
        assert archive.namelist() == ["head/a", "head/b"]
        assert archive.read("head/a") == b"x"
