from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError
from diptych.core.blocks import Block, blocks
from diptych.data.formats import parquet_columns as module
from diptych.data.formats.parquet_pairs import ParquetStream, open_parquet_pairs

ROWS = 70


def write(path: Path, weight: int = 1, **columns: Any) -> ParquetStream:
    table = {"image": [bytes([i]) * weight for i in range(ROWS)], "caption": [f"text {i}" for i in range(ROWS)]}
    pq.write_table(pa.table({**table, **columns}), path, row_group_size=30)
    return open_parquet_pairs(path.parent)


def flat(some: list[Block]) -> list[tuple[int, Any]]:
    return [pair for block in some for pair in zip(block.positions.tolist(), block.items, strict=True)]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 16)


def test_blocks_hold_the_rows_of_the_stream_from_every_position_on(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet")
    stream = write(tmp_path / "1.parquet")
    expected = list(stream)
    assert len(expected) == 2 * ROWS
    for start in (0, 1, 16, 69, 2**32, 2**32 + 37):
        some = list(stream.seek(start).blocks())
        assert flat(some) == [(at, item) for at, item in expected if at >= start]
        assert all((block.positions[1:] % 2**32 % 16 > 0).all() for block in some)
    assert [len(part) for part in stream.parts(2)[1].blocks()] == [16, 16, 16, 16, 6]
    texts = list(ParquetStream(stream.shards, pictures=False).blocks())
    assert {item.content for _, item in flat(texts)} == {b""}
    assert len({block.source for block in [*stream.blocks(), *texts]}) == 4 * len(texts) // 2


def test_columns_are_read_alone_and_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, read = write(tmp_path / "0.parquet"), list[str]()
    batches = module.PlainFile.batches
    monkeypatch.setattr(
        module.PlainFile, "batches", lambda self, column, group: read.append(column) or batches(self, column, group)
    )
    some = list(stream.blocks())
    assert [block.names[0].rpartition("[")[2] for block in some] == ["0]", "16]", "32]", "48]", "64]"]
    assert read == []
    assert list(some[3].texts()) == [f"text {i}" for i in range(48, 64)]
    assert [some[k].texts()[0] for k in (1, 4)] == ["text 16", "text 64"]
    assert (read, some[4].unpictured(1).text(), some[4].unpictured(1).content) == (["caption"] * 2, "text 65", b"")
    assert [item.content[0] for item in some[2].items[1:3]] == [33, 34]
    assert {*read} == {"caption", "image"}


def test_large_pictures_make_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES", 8 * 10_000)
    monkeypatch.setattr(module, "STEP", 2)
    stream = write(tmp_path / "0.parquet", image=[np.random.default_rng(i).bytes(10_000) for i in range(ROWS)])
    assert {len(block) for block in stream.blocks()} <= {7, 8, ROWS % 7, ROWS % 8}


@pytest.mark.parametrize(
    "columns",
    [
        {"caption": [None, *(f"text {i}" for i in range(1, ROWS))]},
        {"image": [None, *(b"x" for _ in range(1, ROWS))]},
        {"image": [f"{i}.png" for i in range(ROWS)]},
        {"synthetic": [["a", "b"]] * ROWS},
    ],
)
def test_other_files_are_read_whole(columns: dict[str, Any], tmp_path: Path) -> None:
    stream = write(tmp_path / "0.parquet", **columns)
    some = list(stream.blocks())
    assert {block.source for block in some} == {""}
    outcomes = list(stream.outcomes())
    assert len(outcomes) == ROWS
    assert [(at, str(item)) for at, item in flat(some)] == [(at, str(item)) for at, item in outcomes]


def test_damage_is_named_where_it_is_met(tmp_path: Path) -> None:
    stream = write(tmp_path / "0.parquet", weight=500)
    content = bytearray((tmp_path / "0.parquet").read_bytes())
    content[200:6000] = bytes(5800)
    (tmp_path / "0.parquet").write_bytes(content)
    with pytest.raises(DataError, match="is damaged or cannot be read"):
        [block.items[0] for block in blocks(stream)]
    (tmp_path / "0.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is damaged or cannot be read"):
        next(blocks(stream))


@pytest.mark.parametrize("plain", [True, False])
def test_a_row_group_is_not_read_at_once(tmp_path: Path, plain: bool) -> None:
    """Pools of one row group are common, and may be larger than the memory."""
    rng, rows = np.random.default_rng(0), 4000
    table = {"image": [rng.bytes(4096) for _ in range(rows)], "caption": [f"text {i}" for i in range(rows)]}
    pq.write_table(pa.table(table), tmp_path / "0.parquet", write_batch_size=16, use_dictionary=False)
    stream, before = open_parquet_pairs(tmp_path), pa.total_allocated_bytes()
    pictures = ([item.content for item in block.items] for block in stream.blocks()) if plain else iter(stream)
    assert next(pictures)
    assert pa.total_allocated_bytes() - before < 2**22
