from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diptych.backbones.writers.pool import StoredPool
from diptych.core.data import Text
from diptych.core.errors import DataError, UsageError
from diptych.core.language import Ask, Writer

POOL = {
    "writer": "gpt-3",
    "prompt": "Describe a {}.",
    "date": "2023-01-31",
    "texts": {"cat": ["has whiskers", "has a tail"], "dog": ["barks"]},
}


def stored(folder: Path, value: Any) -> StoredPool:
    path = folder / "pool.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return StoredPool(path)


def test_a_pool_answers_by_class_with_provenance(tmp_path: Path) -> None:
    texts = stored(tmp_path, POOL)
    assert isinstance(texts, Writer)
    cat, dog, eel = texts.write([Ask("anything", "cat", 9), Ask(about="dog"), Ask("?", "eel")])
    assert cat == [
        Text("has whiskers", "gpt-3", "Describe a {}.", "2023-01-31"),
        Text("has a tail", "gpt-3", "Describe a {}.", "2023-01-31"),
    ]
    assert ([t.value for t in dog], eel) == (["barks"], [])
    assert [t.value for t in texts.write([Ask("", "cat", 1)])[0]] == ["has whiskers"]


def test_a_pool_that_ships_answers_by_name() -> None:
    texts = StoredPool("pacs").write([Ask(about="dog", n=2)])[0]
    assert len(texts) == 2
    assert all(t.value and t.writer for t in texts)


def test_files_that_are_no_pool_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold a JSON object"):
        stored(tmp_path, [1])
    with pytest.raises(UsageError, match="There is no file"):
        StoredPool(tmp_path / "none.json")
