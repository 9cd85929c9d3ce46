from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.data.formats.typed import Typed, read_boxes, read_typed
from diptych.data.images import open_mask
from tests.support.image_files import photo

HEAD = ("path", "split", "kind", "tags", "mask", "domain", "buyer", "firm", "caption_0", "caption_1", "m1", "m2")
ROWS = [
    ("a.png", "train", "dog", "red; round", "m/a.png", "photo", "u1", "f1", "one", "two", "1", "2.5"),
    ("b.png", "test", "cat", "", "m/b.png", "art", "u2", "f1", "three", "", "", "-1"),
    ("c.png", "train", "cat", "red", "m/a.png", "art", "u1", "f2", "", "four", "3", "4"),
]
KINDS = {
    "label": Typed("label", "kind"),
    "tags": Typed("multilabel", "tags"),
    "captions": Typed("captions", "caption_*"),
    "mask": Typed("mask", "mask"),
    "domain": Typed("group", "domain"),
    "firm": Typed("entity", "firm"),
    "buyer": Typed("user", "buyer"),
    "meta": Typed("vector", "m[12]"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, row in enumerate(ROWS):
        photo(tmp_path / row[0], seed)
    (tmp_path / "m").mkdir()
    for name, value in (("a", 3), ("b", 250)):
        Image.fromarray(np.full((30, 40), value, dtype=np.uint8)).save(tmp_path / f"m/{name}.png")
    return tmp_path


def write(root: Path, suffix: str) -> Path:
    place = root / f"t{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({h: [r[i] for r in ROWS] for i, h in enumerate(HEAD)}), place)
    elif suffix == ".jsonl":
        place.write_text("\n".join(json.dumps(dict(zip(HEAD, r, strict=True))) for r in ROWS) + "\n")
    else:
        mark = "\t" if suffix == ".tsv" else ","
        place.write_text("\n".join(mark.join(r) for r in [HEAD, *ROWS]))
    return place


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_from_every_file(root: Path, suffix: str) -> None:
    data = read_typed(write(root, suffix), KINDS)
    train, test = data.splits["train"], data.splits["test"]
    assert (data.classes, list(data.splits)) == (("cat", "dog"), ["train", "test"])
    assert {n: c.kind for n, c in train.columns.items()} == {n: s.kind for n, s in KINDS.items()}
    assert train.labels().tolist() == [1, 0]
    assert train.columns["tags"].values.tolist() == [[True, True], [True, False]]
    assert test.columns["tags"].values.tolist() == [[False, False]]
    assert train.columns["captions"].values == (("one", "two"), ("four",))
    assert train.columns["mask"].values[0].tolist() == [[3] * 40] * 30
    assert test.columns["mask"].values[0].max() == 250
    assert [train.columns[c].values.tolist() for c in ("domain", "firm", "buyer")] == [
        ["photo", "art"],
        ["f1", "f2"],
        ["u1", "u1"],
    ]
    assert train.columns["meta"].values.tolist() == [[1, 2.5], [3, 4]]
    assert np.isnan(test.columns["meta"].values[0, 0])
    assert train.take([1]).columns["captions"].values == (("four",),)
    assert train.items[0].size == (40, 30)


def test_lists_in_cells(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "t.jsonl").write_text(
        '{"path": "a.png", "v": [1, 2, 3], "c": ["x", "", "y"], "t": ["b", "a"], "late": 1}\n'
    )
    kinds = {
        "v": Typed("vector", "v"),
        "c": Typed("captions", "c"),
        "t": Typed("multilabel", "t", classes=("b", "z", "a")),
    }
    data = read_typed(tmp_path / "t.jsonl", kinds)
    row = data.splits["test"].columns
    assert data.classes == ("b", "z", "a")
    assert (row["v"].values.tolist(), row["c"].values, row["t"].values.tolist()) == (
        [[1, 2, 3]],
        (("x", "y"),),
        [[True, False, True]],
    )


def test_the_order_of_classes_can_be_given(root: Path) -> None:
    data = read_typed(write(root, ".csv"), {"label": Typed("label", "kind", classes=("dog", "cow", "cat"))})
    assert data.classes == ("dog", "cow", "cat")
    assert data.splits["train"].labels().tolist() == [0, 2]
    with pytest.raises(DataError, match="'cat', which is none"):
        read_typed(write(root, ".csv"), {"label": Typed("label", "kind", classes=("dog",))})


@pytest.mark.parametrize(
    ("cells", "spec", "items", "message"),
    [
        ("path,k\na.png,", Typed("label", "k"), "path", "Row 1 .* has no k"),
        ("path,k\na.png,x", Typed("label", "z"), "path", "0 columns 'z'"),
        ("path,k,kk\na.png,x,y", Typed("label", "k*"), "path", "2 columns"),
        ("path,k\na.png,x", Typed("vector", "k"), "path", "no number"),
        ("path,k\na.png,x", Typed("label", "k"), "image", "no column 'image'"),
        ("path,k\n../x.png,x", Typed("label", "k"), "path", "leads outside"),
        ("path,k\n,x", Typed("label", "k"), "path", "names no file"),
        ("path,k\na.png,../m.png", Typed("mask", "k"), "path", "leads outside"),
        ("path,k,split\na.png,x,dev", Typed("label", "k"), "path", "split 'dev'"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, cells: str, spec: Typed, items: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(cells)
    with pytest.raises(DataError, match=message):
        read_typed(tmp_path / "t.csv", {"x": spec}, items)


def test_boxes_are_a_table_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(
        "image,category,x,y,w,h,iscrowd\na,dog,1,2,3,4,0\nb,cat,0,0,5,5,1\na,cat,1,1,1,1,0\n"
    )
    column, classes = read_boxes(tmp_path / "b.csv", "xywh", ["b", "c", "a"])
    assert (column.kind, classes) == ("boxes", ("cat", "dog"))
    b, c, a = column.values
    assert a.corners.tolist() == [[1, 2, 4, 6], [1, 1, 2, 2]]
    assert (a.labels.tolist(), b.crowd.tolist(), c.corners.shape) == ([1, 0], [True], (0, 4))
    with pytest.raises(DataError, match="needs a column image or path and the columns x0"):
        read_boxes(tmp_path / "b.csv", "xyxy", ["a", "b"])
    with pytest.raises(DataError, match=r"Row 2 .* names 'b'"):
        read_boxes(tmp_path / "b.csv", "xywh", ["a"])
    with pytest.raises(UsageError, match="use read_boxes"):
        read_typed(tmp_path / "b.csv", {"x": Typed("boxes", "x")}, "image")


@pytest.mark.parametrize(
    ("line", "message"), [("[1]", "no JSON object"), ("{", "cannot be read"), ("[" * 90_000, "cannot be read")]
)
def test_damaged_json_lines(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"path": "a.png"}\n\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        read_typed(tmp_path / "t.jsonl", {})


def test_masks_are_numbers_as_stored(tmp_path: Path) -> None:
    values = np.arange(1200, dtype=np.uint8).reshape(30, 40)
    grey = Image.fromarray(values)
    grey.save(tmp_path / "grey.png")
    palette = grey.copy()
    palette.putpalette([255 - i % 256 for i in range(768)])
    palette.save(tmp_path / "palette.png")
    Image.fromarray((np.arange(1200).reshape(30, 40) * 50).astype(np.uint16)).save(tmp_path / "deep.png")
    assert np.array_equal(open_mask(tmp_path / "grey.png"), values)
    assert np.array_equal(open_mask(tmp_path / "palette.png"), values)
    assert open_mask(tmp_path / "deep.png").max() == 1199 * 50
    grey.save(tmp_path / "lossy.jpg")
    photo(tmp_path / "colour.png")
    for name in ("lossy.jpg", "colour.png"):
        with pytest.raises(UnreadableItem, match="one number per pixel"):
            open_mask(tmp_path / name)
