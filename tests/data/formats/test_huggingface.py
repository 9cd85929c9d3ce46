from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diptych.core import DataError, Samples, UnreadableItem, UsageError
from diptych.data import skipped
from diptych.data.folders import class_folder
from diptych.data.formats.huggingface import read_metadata_folder, read_parquet_folder
from diptych.data.load import open_data, open_records, open_stream
from tests.support.image_files import photo


def encoded(n: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8 + n, 6), (n, n, n)).save(out, "PNG")
    return out.getvalue()


def parquet(place: Path, first: int, rows: int, names: bool = True, **more: list[Any]) -> Path:
    """As the data sets library writes it: structs of bytes and path, and the features beside the schema."""
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": ["sea cat", "dog"], "_type": "ClassLabel"},
    }
    numbers = range(first, first + rows)
    images = [{"bytes": encoded(n), "path": f"{n}.png"} for n in numbers]
    table = pa.table(
        {"image": images, "label": [n % 2 for n in numbers], "text": [f"text {n}" for n in numbers], **more}
    )
    if names:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, place, row_group_size=3)
    return place


def test_parquet_folder(tmp_path: Path) -> None:
    parquet(tmp_path / "set/data/train-00000-of-00002.parquet", 0, 5)
    parquet(tmp_path / "set/data/train-00001-of-00002.parquet", 5, 4)
    parquet(tmp_path / "set/data/validation-00000-of-00001.parquet", 9, 2)
    data = open_data(tmp_path / "set")
    train = data.splits["train"]
    assert isinstance(train.items, Samples)
    assert (data.name, data.classes, list(data.splits)) == ("set", ("sea cat", "dog"), ["train", "val"])
    assert train.labels().tolist() == [n % 2 for n in range(9)]
    assert train.columns["captions"].values[6] == ("text 6",)
    assert [train.items[i].size[0] for i in (8, 0, 4, 5, 3)] == [16, 8, 12, 13, 11]
    assert train.items.name(6).endswith("train-00001-of-00002.parquet[1]")
    assert pickle.loads(pickle.dumps(train.items))[7].size[0] == 15
    for n in range(11):
        place = tmp_path / "plain" / ("train" if n < 9 else "val") / data.classes[n % 2] / f"{n}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(n))
    assert data.hash == class_folder(tmp_path / "plain").hash


def test_one_parquet_file_without_names(tmp_path: Path) -> None:
    objects = [{"bbox": [[1.0, 2.0, 3.0, 4.0]], "categories": ["tail"]}, {"bbox": [], "categories": []}]
    data = open_data(parquet(tmp_path / "a.parquet", 0, 2, names=False, objects=objects))
    table = data.splits["test"]
    assert (data.classes, table.labels().tolist()) == (("0", "1"), [0, 1])
    assert table.columns["boxes"].values[0].corners.tolist() == [[1, 2, 4, 6]]
    assert table.columns["boxes"].values[1].corners.shape == (0, 4)


def test_a_table_of_paths_stays_a_table_of_paths(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    pq.write_table(pa.table({"path": ["a.png"], "label": ["x"], "thumb": [b"123"]}), tmp_path / "t.parquet")
    assert open_data(tmp_path / "t.parquet").splits["test"].items[0].size == (40, 30)


def test_broken_parquet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \.parquet"):
        read_parquet_folder(tmp_path)
    pq.write_table(pa.table({"image": [None, {"bytes": b"words", "path": None}]}), tmp_path / "a.parquet")
    items = read_parquet_folder(tmp_path).splits["test"].items
    with pytest.raises(UnreadableItem, match=r"a\.parquet\[0\]: the row holds no picture"):
        items[0]
    with pytest.raises(UnreadableItem, match=r"a\.parquet\[1\]: not a picture"):
        items[1]
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as a table"):
        pickle.loads(pickle.dumps(items)).key(1)  # without the row group that is held
    with pytest.raises(DataError, match="cannot be read"):
        read_parquet_folder(tmp_path)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column of pictures, only x"):
        read_parquet_folder(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "no Parquet", "footer", "pictures"])
def test_a_damaged_file_is_an_error_and_no_row_of_it_is_skipped(damage: str, tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    rows = {"image": [{"bytes": content + bytes([i]) * 50, "path": None} for i in range(8)], "label": ["x", "y"] * 4}
    (tmp_path / "set").mkdir()
    file = tmp_path / "set" / "a.parquet"
    pq.write_table(pa.table(rows), file, row_group_size=4, compression="snappy")
    data = bytearray(file.read_bytes())
    if damage == "footer":
        data[-200:-8] = bytes(192)
    elif damage == "pictures":  # of the second row group alone: labels and schema can be read
        start = pq.ParquetFile(file).metadata.row_group(1).column(0).data_page_offset
        data[start : start + 300] = b"\x7f" * 300
    file.write_bytes({"cut": data[: len(data) // 2], "no Parquet": b"PAR1 and PAR1"}.get(damage, data))
    for path in (file, tmp_path / "set"):
        with pytest.raises(DataError, match=r"a\.parquet cannot be read as a table") as raised:
            [image.size for image in open_data(path).splits["test"].items]  # type: ignore[attr-defined]
        assert not isinstance(raised.value, UnreadableItem)
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as a table"):
        [image.size for image in open_records(file).images]  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"a\.parquet is damaged"):
        list(open_stream(file, "image", "label"))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata_folder(tmp_path: Path, kind: str) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        "train": [
            {"file_name": "x/0.png", "label": "dog", "text": "one"},
            {"file_name": "1.png", "label": "cat", "text": "two"},
        ],
        "test": [{"file_name": "2.png", "label": "cat", "text": "three"}],
    }
    for split, entries in rows.items():
        for n, row in enumerate(entries):
            photo(tmp_path / split / row["file_name"], n)
        lines = (
            [json.dumps(r) for r in entries]
            if kind == "jsonl"
            else [",".join(r.values()) for r in [dict(zip(*[entries[0]] * 2, strict=True)), *entries]]
        )
        (tmp_path / split / f"metadata.{kind}").write_text("\n".join(lines))
    data = open_data(tmp_path)
    assert (data.classes, list(data.splits)) == (("cat", "dog"), ["train", "test"])
    assert data.splits["train"].labels().tolist() == [1, 0]
    assert data.splits["train"].columns["captions"].values == (("one",), ("two",))
    assert data.splits["test"].items[0].size == (40, 30)


def test_metadata_with_boxes_at_the_top(tmp_path: Path) -> None:
    photo(tmp_path / "0.png")
    row = {"file_name": "0.png", "objects": {"bbox": [[1, 2, 3, 4], [0, 0, 5, 5]], "categories": [1, 0]}}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    data = read_metadata_folder(tmp_path)
    held = data.splits["test"].columns["boxes"].values[0]
    assert (held.corners.tolist(), held.labels.tolist(), data.classes) == (
        [[1, 2, 4, 6], [0, 0, 5, 5]],
        [1, 0],
        ("0", "1"),
    )
    for objects in ("words", {"bbox": [[1]], "categories": [1]}, [1]):
        (tmp_path / "metadata.jsonl").write_text(json.dumps({**row, "objects": objects}))
        with pytest.raises(DataError):
            read_metadata_folder(tmp_path)


def test_metadata_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no metadata"):
        read_metadata_folder(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,label\n../../secret.png,a\n")
    with pytest.raises(DataError, match="leads outside"):
        read_metadata_folder(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,\nb.png,x\n")
    with pytest.raises(DataError, match="label ''"):
        read_metadata_folder(tmp_path)


def test_a_metadata_file_of_something_else_is_passed_over(tmp_path: Path) -> None:
    photo(tmp_path / "cat/0.png")
    (tmp_path / "metadata.csv").write_text("path,author\ncat/0.png,me\n")
    assert open_data(tmp_path).classes == ("cat",)


def test_pictures_that_the_metadata_do_not_name_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "b.png", "c.png"):
        photo(tmp_path / name)
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,x\nb.png,y\n")
    for read in (open_data, open_records):
        caplog.clear()
        skipped._say.cache_clear()
        read(str(tmp_path))
        (message,) = caplog.messages
        assert message.startswith(f"Left out of {tmp_path}: 1 picture that has no row in its metadata, such as c.png; ")
