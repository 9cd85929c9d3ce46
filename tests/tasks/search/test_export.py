from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from diptych.core import UsageError
from diptych.data.formats.embeddings import read_embedding_parquet
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.tasks.search import export as exporting
from diptych.tasks.search.export import export
from tests.cli.conftest import diptych  # noqa: F401

Cli = Callable[..., Any]


def unit(n: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures, of which two have captions, and a caption without picture."""
    with Index.create(tmp_path / "index", {"dim": 4, "fingerprint": "f", "backbone": "b"}) as index:
        entries = [Entry(f"{i}.jpg", key=f"k{i}", caption="said" if i < 2 else "", facts={"year": i}) for i in range(5)]
        entries.append(Entry("text", caption="alone"))
        index.add(entries, {"image": (np.arange(5), unit(5, 0)), "text": (np.array([0, 1, 5]), unit(3, 1))})
    return tmp_path / "index"


def rows_of(table: Any) -> None:
    rows = {row["image_id"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows == 6
    for i in range(5):
        row = rows[f"{i}.jpg"]
        assert row["embedding"] == pytest.approx(unit(5, 0)[i].tolist())
        assert json.loads(row["facts"]) == {"year": i}
    assert rows["1.jpg"]["caption_embedding"] == pytest.approx(unit(3, 1)[1].tolist())
    assert rows["4.jpg"]["caption_embedding"] is None
    assert (rows["text"]["caption"], rows["text"]["embedding"]) == ("alone", None)
    assert rows["text"]["caption_embedding"] == pytest.approx(unit(3, 1)[2].tolist())


@pytest.mark.parametrize("size", [2, 4096])
def test_parquet_has_every_entry_once(folder: Path, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "ROWS", size)
    assert export(folder, tmp_path / "x.parquet") == 6
    rows_of(pq.read_table(tmp_path / "x.parquet"))
    with pytest.raises(UsageError, match="exists"):
        export(folder, tmp_path / "x.parquet")
    assert export(folder, tmp_path / "x.parquet", overwrite=True) == 6


def test_lance_has_the_same(folder: Path, tmp_path: Path) -> None:
    lance = pytest.importorskip("lance")
    assert export(folder, tmp_path / "x.lance") == 6
    data = lance.dataset(str(tmp_path / "x.lance"))
    rows_of(data.to_table())
    query = {"column": "embedding", "q": unit(5, 0)[3], "k": 1}
    assert data.to_table(nearest=query)["image_id"].to_pylist() == ["3.jpg"]
    assert export(folder, tmp_path / "x.lance", overwrite=True) == 6


def test_other_names_are_refused_and_the_command_line_copies(folder: Path, tmp_path: Path, diptych: Cli) -> None:  # noqa: F811
    with pytest.raises(UsageError, match=r"ends in \.lance or \.parquet"):
        export(folder, tmp_path / "x.csv")
    answer = diptych("index", "--out", folder, "--export", "y.parquet")
    assert (answer.code, "6 entries in y.parquet" in answer.err) == (0, True), answer.err
    assert diptych("index", "--out", folder, "--export", "y.parquet").code == 2
    assert diptych("index", "--out", folder, "--export", "y.parquet", "--overwrite").code == 0
    pictures = pq.read_table(tmp_path / "y.parquet").filter(
        pq.read_table(tmp_path / "y.parquet")["embedding"].is_valid()
    )
    pq.write_table(pictures, tmp_path / "pictures.parquet")
    assert len(read_embedding_parquet(tmp_path / "pictures.parquet").items) == 5
