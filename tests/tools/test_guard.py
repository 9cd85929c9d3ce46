from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import guard
from benchmarks.guard import GUARDED, beside, committed


def row(ratio: float, base: str = "script") -> dict[str, Any]:
    return {"rows": {base: {"ratio": 1.0}, "another": {"ratio": 3.0}, "diptych exact": {"ratio": ratio}}}


def test_a_ratio_that_fell_by_a_third_is_named() -> None:
    assert beside(row(1.3), row(2.0)) == {"diptych exact": {"now": 1.3, "committed": 2.0, "fell": True}}
    assert not beside(row(1.4), row(2.0))["diptych exact"]["fell"]
    assert beside(row(1.3, "another script"), row(2.0)) == {}
    assert beside({"error": "ImportError: faiss"}, row(2.0)) == {}
    assert beside(row(1.0), {}) == {}


def test_the_newest_row_of_the_same_kind_of_machine_counts(tmp_path: Path) -> None:
    files = [
        ("old", "2026-01-01", "AVX2", False, {"a": row(1.0), "b": row(2.0)}),
        ("new", "2026-02-01", "AVX2", False, {"a": row(3.0), "b": {"error": "failed"}}),
        ("other", "2026-03-01", "AVX512", False, {"a": row(4.0)}),
        ("small", "2026-03-01", "AVX2", True, {"a": row(5.0)}),
    ]
    for name, date, kind, quick, rows in files:
        content = {"date": date, "instructions": kind, "quick": quick, "benchmarks": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert committed(tmp_path, "AVX2") == {"a": row(3.0), "b": row(2.0)}
    assert committed(tmp_path, "AVX") == {}


def test_it_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    measured = {"images:lite": row(0.1), "texts:lite": {"error": "OSError: no disk"}}

    def one(entry: Any, quick: bool, rounds: int) -> dict[str, Any]:
        name = next(name for name, known in guard.ROWS.items() if known is entry)
        return {**measured[name], "load": [0.0, 0.0], "wall_seconds": 1.0}

    monkeypatch.setattr(guard, "one", one)
    monkeypatch.setattr(guard, "show", lambda name, row: None)
    monkeypatch.setattr(guard, "committed", lambda folder, kind: {"images:lite": row(6.0)})
    out = tmp_path / "bench.json"
    assert guard.main(["--only", ",".join(measured), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "FELL BY A THIRD" in printed
    assert "stands beside texts:lite." in printed
    written = json.loads(out.read_text())["benchmarks"]
    assert written["images:lite"]["beside"]["diptych exact"]["fell"] is True
    assert {*GUARDED} <= {*guard.ROWS}
    with pytest.raises(SystemExit):
        guard.main(["--only", "images:none"])
