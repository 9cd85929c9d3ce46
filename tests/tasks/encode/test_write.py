"""Embedding files in clip-retrieval's layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError, Run, Texts, UsageError
from diptych.data.files import read_json
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.features.embed import embed, embed_slices
from diptych.tasks.encode import write
from diptych.tasks.encode.write import encode
from tests.support.colours import ColourBackbone, colour_folder


def test_photos_become_unit_vectors_beside_their_paths(data: LabelledData, tmp_path: Path) -> None:
    embeddings = encode(data, ColourBackbone(), Run(), tmp_path / "out")
    vectors = np.load(tmp_path / "out" / "img_emb" / "img_emb_0.npy")
    table = pq.read_table(tmp_path / "out" / "metadata" / "metadata_0.parquet").to_pydict()
    assert vectors.shape == (90, 4)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert len(table["image_path"]) == embeddings.items == 90
    own = embed(ColourBackbone().image, data.splits["train"].items, Run()).numpy()
    np.testing.assert_allclose(vectors[:40], own / np.linalg.norm(own, axis=1, keepdims=True), atol=1e-6)
    assert [Path(p).parent.name for p in table["image_path"]] == table["label"]
    assert [Path(p).parent.parent.name for p in table["image_path"]] == table["split"]
    facts = read_json(tmp_path / "out" / "encode.json")
    assert facts["spec"]["name"] == "colours"
    assert facts["normalised"] is True
    with pytest.raises(UsageError, match="holds embeddings"):
        encode(data, ColourBackbone(), Run(), tmp_path / "out")
    encode(data, ColourBackbone(), Run(), tmp_path / "out", overwrite=True)


def test_texts_go_to_text_emb(tmp_path: Path) -> None:
    encode(Texts(("red", "blue")), ColourBackbone(), Run(), tmp_path)
    assert np.load(tmp_path / "text_emb" / "text_emb_0.npy").shape == (2, 4)
    assert pq.read_table(tmp_path / "metadata" / "metadata_0.parquet").to_pydict() == {"caption": ["red", "blue"]}


def test_broken_photos_leave_no_row(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "d", {"": 2}, ["red", "blue"])
    (folder / "red" / "0.png").write_bytes(b"x")
    embeddings = encode(open_data(folder), ColourBackbone(), Run(), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "metadata" / "metadata_0.parquet").to_pydict()
    assert (
        embeddings.items
        == len(table["image_path"])
        == len(np.load(tmp_path / "out" / "img_emb" / "img_emb_0.npy"))
        == 3
    )
    assert [e.name for e in embeddings.failed] == [str(folder / "red" / "0.png")]
    assert str(folder / "red" / "0.png") not in table["image_path"]
    for path in folder.rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="None of the 4 items"):
        encode(open_data(folder), ColourBackbone(), Run(), tmp_path / "none")


def test_ctrl_c_says_how_many_vectors_are_stored_and_the_same_call_goes_on(
    data: LabelledData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any, **more: Any) -> Iterator[Any]:
        yield from embed_slices(*given, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "embed_slices", interrupted)
    said = r"^Interrupted: 90 vectors are in the cache; the same command goes on from there\.$"
    with pytest.raises(KeyboardInterrupt, match=said):
        encode(data, ColourBackbone(), Run(cache=tmp_path / "cache"), tmp_path / "out")
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        encode(data, ColourBackbone(), Run(), tmp_path / "out")
    monkeypatch.undo()
    run = Run(cache=tmp_path / "cache")
    assert encode(data, ColourBackbone(), run, tmp_path / "out").items == 90
    assert run.tally["encoded"] == 0
