from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError, UsageError
from diptych.data.formats import arrays
from diptych.data.formats.arrays import ArrayRows, open_npy, open_npz
from diptych.data.formats.embeddings import (
    read_clip_retrieval,
    read_datacomp,
    read_embedding_parquet,
    read_uids,
    write_embedding_parquet,
    write_uids,
)

RNG = np.random.default_rng(0)


def clip_retrieval(folder: Path, parts: int = 11, rows: int = 3) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    image, text = RNG.normal(size=(2, parts * rows, 8)).astype(np.float16)
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir()
    for n in range(parts):
        cut = slice(n * rows, (n + 1) * rows)
        np.save(folder / f"img_emb/img_emb_{n}.npy", image[cut])
        np.save(folder / f"text_emb/text_emb_{n}.npy", text[cut])
        cells = {
            "image_path": [f"{i}.jpg" for i in range(cut.start, cut.stop)],
            "caption": [f"c{i}" if i else None for i in range(cut.start, cut.stop)],
        }
        pq.write_table(pa.table(cells), folder / f"metadata/metadata_{n}.parquet")
    return image, text


def test_clip_retrieval_in_the_order_of_numbers(tmp_path: Path) -> None:
    image, text = clip_retrieval(tmp_path)
    table = read_clip_retrieval(tmp_path)
    assert np.array_equal([table.items[i] for i in range(len(table))], image)
    assert np.array_equal(table.columns["text_emb"].values[:], text)
    assert table.columns["entity"].values.tolist() == [f"{i}.jpg" for i in range(33)]
    assert table.columns["captions"].values[:2] == ((), ("c1",))
    taken = table.take([32, 0, 7])
    assert np.array_equal(taken.columns["text_emb"].values, text[[32, 0, 7]])
    assert taken.items.name(0) == f"{tmp_path}/img_emb/img_emb_10.npy[2]"
    assert len({table.items.key(i) for i in range(33)}) == 33
    assert np.array_equal(read_clip_retrieval(tmp_path, "text_emb").items[5], text[5])
    with pytest.raises(IndexError):
        table.items[33]


def test_clip_retrieval_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder img_emb"):
        read_clip_retrieval(tmp_path)
    clip_retrieval(tmp_path, 2)
    (tmp_path / "metadata/metadata_1.parquet").unlink()
    with pytest.raises(DataError, match="3 values for 6 items"):
        read_clip_retrieval(tmp_path)
    np.save(tmp_path / "img_emb/img_emb_1.npy", np.zeros((3, 5)))
    with pytest.raises(DataError, match="vectors of one width"):
        read_clip_retrieval(tmp_path)


def datacomp(folder: Path, parts: int = 2, rows: int = 4) -> tuple[np.ndarray[Any, Any], list[str]]:
    vectors = RNG.normal(size=(parts * rows, 6)).astype(np.float16)
    uids = [bytes(RNG.integers(0, 256, 16, dtype=np.uint8)).hex() for _ in range(parts * rows)]
    for n in range(parts):
        cut = slice(n * rows, (n + 1) * rows)
        pq.write_table(pa.table({"uid": uids[cut], "text": [f"t{i}" for i in range(rows)]}), folder / f"{n}.parquet")
        np.savez(folder / f"{n}.npz", l14_img=vectors[cut], b32_img=vectors[cut, :3])
    return vectors, uids


def test_datacomp(tmp_path: Path) -> None:
    vectors, uids = datacomp(tmp_path)
    table = read_datacomp(tmp_path)
    assert np.array_equal([table.items[i] for i in range(8)], vectors)
    assert table.columns["entity"].values.tolist() == uids
    assert table.columns["captions"].values[5] == ("t1",)
    assert read_datacomp(tmp_path, "b32_img").items[0].shape == (3,)
    with pytest.raises(DataError, match="no array 'l14_txt', only l14_img, b32_img"):
        read_datacomp(tmp_path, "l14_txt")
    np.savez(tmp_path / "1.npz", l14_img=vectors[:3])
    with pytest.raises(DataError, match="4 uids for 3 vectors"):
        read_datacomp(tmp_path)
    (tmp_path / "1.npz").unlink()
    with pytest.raises(UsageError, match="There is no file"):
        read_datacomp(tmp_path)
    with pytest.raises(UsageError, match=r"no \.parquet"):
        read_datacomp(tmp_path / "absent")


def test_uids_are_sorted_pairs(tmp_path: Path) -> None:
    uids = [bytes(RNG.integers(0, 256, 16, dtype=np.uint8)).hex() for _ in range(50)]
    write_uids(tmp_path / "keep.npy", uids)
    stored = np.load(tmp_path / "keep.npy")
    assert stored.dtype == np.dtype("u8,u8")
    assert [(high << 64) + low for high, low in stored.tolist()] == sorted(int(u, 16) for u in uids)
    assert read_uids(tmp_path / "keep.npy") == tuple(sorted(uids))
    with pytest.raises(UsageError, match="exists already"):
        write_uids(tmp_path / "keep.npy", uids)
    with pytest.raises(DataError, match="'xyz' is no uid"):
        write_uids(tmp_path / "new.npy", ["xyz"])
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(DataError, match="holds no uids"):
        read_uids(tmp_path / "other.npy")


def forged(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"words",
        forged((10**14,)),
        forged((-1, 3)),
        forged((2, 2)) + b"abc",
        forged((2,), "|O") + b"cos\nsystem\n.",
    ],
)
def test_npy_files_that_are_not_loaded(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(DataError, match="read safely"):
        open_npy(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", data)
    with pytest.raises(DataError, match=r"read safely|promises more|Python objects"):
        open_npz(tmp_path / "x.npz", "a")


def test_more_that_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.savez(tmp_path / "o.npz", a=np.array([{"a": 1}]), n=np.float32(1))
    np.save(tmp_path / "n.npy", np.float32(1))
    with pytest.raises(DataError, match="read safely"):
        open_npy(tmp_path / "o.npy")
    with pytest.raises(DataError, match="Python objects"):
        open_npz(tmp_path / "o.npz", "a")
    with pytest.raises(DataError, match="single number"):
        open_npz(tmp_path / "o.npz", "n")
    with pytest.raises(DataError, match=r"no array with rows|read safely"):
        open_npy(tmp_path / "n.npy")
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10**6))
    monkeypatch.setattr(arrays, "MAX_BYTES", 10**6)
    with pytest.raises(DataError, match="more than the limit"):
        open_npz(tmp_path / "bomb.npz", "a")
    (tmp_path / "bomb.npz").write_bytes((tmp_path / "bomb.npz").read_bytes()[:300])
    with pytest.raises(DataError, match="read safely"):
        open_npz(tmp_path / "bomb.npz", "a")
    with pytest.raises(UsageError, match="There is no file"):
        open_npy(tmp_path / "absent.npy")


def test_rows_of_an_array_as_samples() -> None:
    rows = ArrayRows(np.arange(6).reshape(3, 2), "x")
    assert (len(rows), rows[1].tolist(), rows.name(1)) == (3, [2, 3], "x[1]")
    assert rows.key(0) == ArrayRows(np.arange(2).reshape(1, 2), "y").key(0)
    assert rows.key(0) != ArrayRows(np.arange(2).reshape(1, 2).astype(np.int32), "y").key(0)


def test_parquet_of_ids_and_vectors_goes_and_comes(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    ids = [f"photos/{i}.jpg" for i in range(7)]
    assert write_embedding_parquet(tmp_path / "p", ids, vectors, rows=3) == 3
    schema = pq.read_schema(tmp_path / "p" / "part-00000.parquet")
    assert (schema.names, schema.field("embedding").type) == (["image_id", "embedding"], pa.list_(pa.float32()))
    table = read_embedding_parquet(tmp_path / "p")
    assert table.columns["entity"].values.tolist() == ids
    assert (np.stack([table.items[i] for i in range(7)]) == vectors).all()
    with pytest.raises(UsageError, match="exists"):
        write_embedding_parquet(tmp_path / "p", ids, vectors)
    with pytest.raises(UsageError, match="7 ids and 6 vectors"):
        write_embedding_parquet(tmp_path / "q", ids, vectors[:6])


def test_parquet_of_others_and_what_is_none(tmp_path: Path) -> None:
    fixed = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64(), 2))
    pq.write_table(pa.table({"id": [7, 8], "v": fixed}), tmp_path / "x.parquet")
    table = read_embedding_parquet(tmp_path / "x.parquet", ids="id", vectors="v")
    assert table.columns["entity"].values.tolist() == ["7", "8"]
    assert table.items[1].tolist() == [3.0, 4.0]
    with pytest.raises(DataError, match="cannot be read as ids in 'image_id'"):
        read_embedding_parquet(tmp_path / "x.parquet")
    for rows in ([[1.0], [1.0, 2.0]], [[1.0], None]):
        pq.write_table(pa.table({"image_id": ["a", "b"], "embedding": rows}), tmp_path / "y.parquet")
        with pytest.raises(DataError, match="widths"):
            read_embedding_parquet(tmp_path / "y.parquet")
    with pytest.raises(UsageError, match=r"holds no \.parquet files"):
        read_embedding_parquet(tmp_path / "absent")
    pq.write_table(
        pa.table({"image_id": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32()))}),
        tmp_path / "z.parquet",
    )
    with pytest.raises(DataError, match="holds no vectors"):
        read_embedding_parquet(tmp_path / "z.parquet")
