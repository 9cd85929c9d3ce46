from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError
from diptych.data.formats.embeddings import write_embedding_parquet
from diptych.data.load import open_records
from diptych.data.records.vectors import StoredVectors

VECTORS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def written(root: Path, *, texts: bool = False, metadata: Mapping[str, Any] | None = None) -> Path:
    for kind in ("img_emb", "text_emb")[: 1 + texts]:
        (root / kind).mkdir(parents=True)
        for part, rows in enumerate((VECTORS[:2], VECTORS[2:])):
            np.save(root / kind / f"{kind}_{part}.npy", rows if kind == "img_emb" else -rows)
    if metadata is not None:
        (root / "metadata").mkdir()
        pq.write_table(pa.table(dict(metadata)), root / "metadata" / "metadata_0.parquet")
    return root


def stored(records: Any) -> StoredVectors:
    assert isinstance(records.images, StoredVectors)
    return records.images


def test_a_folder_of_clip_retrieval_gives_vectors_captions_and_facts(tmp_path: Path) -> None:
    cells = {"image_path": list("abcde"), "caption": ["x", "", None, "y", "z"], "year": ["1", "2", "3", "4", "5"]}
    records = open_records(written(tmp_path / "emb", texts=True, metadata=cells), vectors=True)
    assert records.names == tuple("abcde")
    assert records.texts == ("x", None, None, "y", "z")
    assert records.facts[4] == {"year": 5}
    images = stored(records.take([4, 0]))
    np.testing.assert_array_equal(images.take("image", [4, 0]), VECTORS[[4, 0]])
    np.testing.assert_array_equal(images.take("text", [3]), -VECTORS[[3]])
    assert (images.dim, images.provenance) == (4, {})
    assert images.name(2).endswith("img_emb_1.npy[0]")
    with pytest.raises(DataError, match="holds vectors and no pictures"):
        records[0]


def test_without_metadata_an_entry_is_called_by_its_file_and_row(tmp_path: Path) -> None:
    records = open_records(written(tmp_path / "emb"), vectors=True)
    assert records.names[3].endswith("img_emb_1.npy[1]")
    assert stored(records).take("text", [0]) is None


def test_parquet_of_ids_gives_the_same_vectors_and_its_other_columns(tmp_path: Path) -> None:
    write_embedding_parquet(tmp_path / "nemo", list("vwxyz"), VECTORS, rows=2)
    records = open_records(tmp_path / "nemo", vectors=True)
    assert records.names == tuple("vwxyz")
    np.testing.assert_array_equal(stored(records).take("image", range(5)), VECTORS)
    table = pa.table(
        {
            "uid": ["1", "2"],
            "caption": ["a", "b"],
            "size": [3, 4],
            "embedding": [[1.0, 2.0], [3.0, 4.0]],
            "more": [[1.0], [2.0]],
        }
    )
    pq.write_table(table, tmp_path / "one.parquet")
    records = open_records(tmp_path / "one.parquet", image="uid", vectors=True)
    assert (records.names, records.texts, records.facts) == (("1", "2"), ("a", "b"), ({"size": 3}, {"size": 4}))


def test_facts_of_encode_are_kept(tmp_path: Path) -> None:
    root = written(tmp_path / "emb")
    (root / "encode.json").write_text(json.dumps({"fingerprint": "f"}))
    assert stored(open_records(root, vectors=True)).provenance == {"fingerprint": "f"}


def test_what_is_no_whole_set_of_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cells in 'year' for 5 vectors"):
        open_records(written(tmp_path / "short", metadata={"year": ["1"]}), vectors=True)
    (tmp_path / "texts" / "text_emb").mkdir(parents=True)
    with pytest.raises(DataError, match="vectors of texts alone"):
        open_records(tmp_path / "texts", vectors=True)
    with pytest.raises(DataError, match="No pictures below"):
        open_records(written(tmp_path / "link"))


def test_lance_gives_the_same_vectors_and_its_other_columns(tmp_path: Path) -> None:
    lance = pytest.importorskip("lance", reason="needs the extra 'lance'")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.reshape(-1)), 4)
    columns = {"image_id": list("vwxyz"), "embedding": fixed, "caption": ["x", None, "y", "", "z"], "year": range(5)}
    lance.write_dataset(pa.table(columns), str(tmp_path / "emb.lance"))
    records = open_records(tmp_path / "emb.lance", vectors=True)
    assert (records.names, records.texts) == (tuple("vwxyz"), ("x", None, "y", None, "z"))
    assert records.facts[4] == {"year": 4}
    np.testing.assert_array_equal(stored(records).take("image", range(5)), VECTORS)
    lance.write_dataset(pa.table({"image_id": ["a"]}), str(tmp_path / "none.lance"))
    with pytest.raises(DataError, match=r"none\.lance cannot be read as Lance with vectors in 'embedding'"):
        open_records(tmp_path / "none.lance", vectors=True)
