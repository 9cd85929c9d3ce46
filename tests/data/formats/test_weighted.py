"""Captions of a row with weights, in tables and shards."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.data.formats.taught import MOST, arrays
from diptych.data.formats.weighted import weighted
from diptych.data.load import open_data, open_stream
from diptych.data.samples import as_data
from tests.support.image_files import photo

LISTED = [
    {"path": "0.png", "captions": ["a dog", "", "a pet"], "caption_weights": [1, 7, 3]},
    {"path": "1.png", "captions": ["a cat", "an animal"]},
]


def pictures(root: Path, count: int = 2) -> list[bytes]:
    return [photo(root / f"{i}.png", i).read_bytes() for i in range(count)]


def read(path: Path, **more: Any) -> dict[str, Any]:
    data = open_data(path, need="captions", **more)
    return {name: list(column.values) for name, column in data.splits["test"].columns.items()}


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_a_list_of_captions_has_a_weight_each(tmp_path: Path, suffix: str) -> None:
    pictures(tmp_path)
    path = tmp_path / f"t.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(LISTED))
    elif suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, LISTED)))
    else:
        pq.write_table(pa.Table.from_pylist(LISTED), path)
    found = read(path)
    assert found["captions"] == [("a dog", "a pet"), ("a cat", "an animal")]
    assert found["captions_weights"] == [(0.25, 0.75), (0.5, 0.5)]


def test_columns_have_shares_as_in_open_clip_and_an_empty_one_leaves_its_own_to_the_others(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "t.csv").write_text("path,alt,blip,long\n0.png,a,b,c\n1.png,,d,e\n")
    found = read(tmp_path / "t.csv", text="blip,alt", shares=(0.2, 0.8))
    assert found["captions"] == [("b", "a"), ("d",)]
    assert found["captions_weights"] == [(0.2, 0.8), (1.0,)]
    with pytest.raises(UsageError, match=r"caption_weights has 1 number, and .* has 2 columns"):
        read(tmp_path / "t.csv", text="blip,alt", shares=(1.0,))
    with pytest.raises(UsageError, match="not all 0, got 0, 0"):
        read(tmp_path / "t.csv", text="blip,alt", shares=(0, 0))
    (tmp_path / "u.csv").write_text('path,caption_0,caption_1,caption_weights\n0.png,a,b,"[1, 3]"\n1.png,c,d,\n')
    found = read(tmp_path / "u.csv")
    assert found["captions_weights"] == [(0.25, 0.75), (0.5, 0.5)]
    with pytest.raises(UsageError, match="has weights in caption_weights"):
        read(tmp_path / "u.csv", shares=(1, 1))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], "has 1 weights for 2 captions"),
        ([1, -1], "give numbers from 0 on"),
        ([1, "much"], "give numbers from 0 on"),
        ([0, 0], "no caption with a weight above 0"),
    ],
)
def test_weights_that_do_not_fit_name_the_row(weights: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^Row 7 .*{message}"):
        weighted([["a", "b"]], weights, (), "Row 7")


def test_a_json_file_that_is_no_table_of_captions_is_not_taken_for_one(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "t.json").write_text(json.dumps({"path": "0.png", "caption": "a"}))
    with pytest.raises(DataError):
        read(tmp_path / "t.json")


VECTORS = {"image_emb": np.arange(4.0, dtype=np.float16), "text_emb": np.arange(12.0, dtype=np.float16).reshape(3, 4)}


def shard(root: Path, **more: Any) -> Path:
    """Write a shard in the layout of DataCompDR: alt-text, synthetic captions, vectors of both."""
    content = io.BytesIO()
    np.savez(content, **VECTORS)
    with webdataset.TarWriter(str(root / "0.tar")) as writer:
        for i, png in enumerate(pictures(root)):
            item = {
                "png": png,
                "txt": f"alt {i}",
                "syn.json": json.dumps({"syn_text": [f"one {i}", f"two {i}"]}).encode(),
                "json": json.dumps({"title": f"title {i}", "blip": "" if i else "blip 0"}).encode(),
                "npz": content.getvalue(),
            }
            writer.write({"__key__": str(i), **item, **more})
    return root / "0.tar"


def test_items_of_tars_have_captions_synthetic_ones_and_vectors(tmp_path: Path) -> None:
    items = [item for _, item in open_stream(str(shard(tmp_path)))]
    columns = items[1].columns
    assert columns["captions"] == ("alt 1",)
    assert columns["synthetic"] == ("one 1", "two 1")
    assert columns["teacher_text"].shape == (3, 4)
    assert columns["teacher_image"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert set(columns) == {"captions", "synthetic", "teacher_image", "teacher_text"}


def test_fields_of_json_members_have_shares(tmp_path: Path) -> None:
    stream = open_stream(str(shard(tmp_path)), text="blip,txt,syn_text", shares=(0.5, 0.25, 0.25))
    first, second = (item.columns for _, item in stream)
    assert first["captions"] == ("blip 0", "alt 0", "one 0", "two 0")
    assert first["captions_weights"] == (0.5, 0.25, 0.125, 0.125)
    assert second["captions"] == ("alt 1", "one 1", "two 1")
    assert second["captions_weights"] == (0.5, 0.25, 0.25)
    item = next(item for _, item in open_stream(str(tmp_path / "0.tar"), text="none"))
    with pytest.raises(UnreadableItem, match="has no caption in none"):
        item.columns["captions"]


def test_vectors_that_do_not_fit_leave_out_the_item(tmp_path: Path) -> None:
    path = shard(tmp_path, **{"syn.json": b'{"syn_text": "one"}'})
    columns = next(item for _, item in open_stream(str(path))).columns
    assert columns["captions"] == ("alt 0",)
    with pytest.raises(UnreadableItem, match=r"sizes \(4,\) and \(3, 4\) for one picture and 2 captions"):
        columns["teacher_text"]
    for content, message in ((b"no zip", "holds no arrays"), (packed(x=np.zeros(2)), "has no teacher_image")):
        with pytest.raises(UnreadableItem, match=message):
            arrays(content, "0.tar!0.npz")
    with pytest.raises(UnreadableItem, match="unpacks to more than"):
        arrays(packed(image_emb=np.zeros(MOST // 8 + 1), text_emb=np.zeros(1)), "0.tar!0.npz")


def packed(**named: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **named)
    return content.getvalue()


def test_rows_of_parquet_and_tables_stream_the_same_columns(tmp_path: Path) -> None:
    rows = [
        {
            "image": {"bytes": png, "path": None},
            "caption": [f"a {i}", f"b {i}"],
            "caption_probs": [0.1, 0.3],
            "syn_text": [f"c {i}"],
            "image_emb": [1.0, 0.0],
            "text_emb": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        }
        for i, png in enumerate(pictures(tmp_path))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    item = next(item for _, item in open_stream(str(tmp_path / "t.parquet")))
    assert item.text() == "a 0"
    assert item.columns["captions"] == ("a 0", "b 0")
    assert item.columns["captions_weights"] == pytest.approx((0.25, 0.75))
    assert item.columns["synthetic"] == ("c 0",)
    assert item.columns["teacher_text"].shape == (3, 2)
    (tmp_path / "t.csv").write_text("filepath,title,blip\n0.png,a,b\n1.png,,\n")
    first, second = (x for _, x in open_stream(str(tmp_path / "t.csv"), text="title,blip", shares=(3, 1)).outcomes())
    assert first.columns == {"captions": ("a", "b"), "captions_weights": (0.75, 0.25)}
    assert str(second).endswith("has no caption")


def test_folders_of_hugging_face_and_data_frames_have_weights_too(tmp_path: Path) -> None:
    import pandas as pd

    pictures(tmp_path)
    rows = [{"file_name": r["path"], **{k: v for k, v in r.items() if k != "path"}} for r in LISTED]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = open_data(tmp_path).splits["test"].columns
    frame = pd.DataFrame([{**r, "path": str(tmp_path / str(r["path"]))} for r in LISTED]).astype(object)
    framed = next(iter(as_data(frame.where(frame.notna(), None)).splits.values())).columns
    for columns in (folder, framed):
        assert columns["captions"].values[0] == ("a dog", "a pet")
        assert columns["captions_weights"].values == ((0.25, 0.75), (0.5, 0.5))
