from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

Cli = Callable[..., Any]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool.txt").write_text("\n".join("a cat" if i % 10 else "an axolotl" for i in range(500)) + "\nIMG_1")
    (tmp_path / "names.txt").write_text("cat\naxolotl\ndog")
    return tmp_path / "pool.txt"


def test_plan_merge_and_apply(diptych: Cli, pool: Path, tmp_path: Path) -> None:
    got = diptych("curate", "plan", pool, "--metadata", "names.txt", "--json")
    assert got.code == 0
    assert (got.data["texts"], got.data["matched"], got.data["entries_met"]) == (501, 500, 2)
    assert diptych("curate", "plan", pool, "--metadata", "names.txt").code == 2
    twice = diptych("curate", "plan", pool, "--metadata", "names.txt", "--merge", "plan.parquet", "--out", "two.parquet", "--json")
    assert twice.data["texts"] == 1002
    got = diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "50", "--json")
    assert got.code == 0
    rows = pq.read_table(tmp_path / "curated" / "part-00000.parquet").to_pylist()
    assert sum("axolotl" in r["title"] for r in rows) == 50
    assert 20 < sum("cat" in r["title"] for r in rows) < 90
    assert diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "50").code == 2
    got = diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "inf", "--out", "all")
    assert "500 of 501 kept" in got.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["plan", "absent.txt"], 2, "no file"),
        (["plan", "pool.xml"], 2, "reads texts"),
        (["plan", "pool.txt", "--method", "gda"], 2, "no curator"),
        (["apply", "pool.txt", "--t", "many"], 2, "--t takes"),
        (["apply", "pool.txt", "--t", "0"], 2, "at least 1"),
        (["apply", "pool.txt", "--plan", "absent.parquet"], 1, "no plan of metaclip"),
    ],
)
def test_errors_are_one_sentence(diptych: Cli, pool: Path, words: list[str], code: int, says: str) -> None:
    got = diptych("curate", *words)
    assert got.code == code
    assert says in got.err
