"""Committed results are run again by their own commands, and compared number by number."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import results
from tools.results import command, compared, main, numbers

PROOF: dict[str, Any] = {
    "kind": "proof",
    "command": "diptych prove gda -b tiny --data demo:clothes --overwrite --seeds 1,2,3",
    "engine": "onnxruntime",
    "seeds": [1, 2, 3],
    "seconds": 4.0,
    "datasets": [{"dataset": "demo:clothes", "claims": [{"gain": 0.25, "shown": True}]}],
}


def test_a_proof_is_repeated_with_the_data_seeds_and_engine_of_its_file() -> None:
    line = command(PROOF, Path("o"))
    assert line[:5] == [sys.executable, "-m", "diptych.cli", "prove", "gda"]
    assert line[5:] == ["-b", "tiny", "--out", "o", "--data", "demo:clothes", "--seeds", "1,2,3", "--overwrite",
                        "--engine", "onnx"]  # fmt: skip


def test_a_board_keeps_its_options_but_not_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_DATA", "sets")
    board = {"kind": "board", "command": "diptych board classify x --seeds 1,2 --out x", "engine": None}
    assert command(board, Path("o"))[3:] == ["board", "classify", "x", "--seeds", "1,2", "--out", "o", "--engine",
                                             "torch"]  # fmt: skip
    script = {"command": "python -m recipes.tiny judge --backbone tiny"}
    assert command(script, Path("o"))[1:] == ["-m", "recipes.tiny", "judge", "--backbone", "tiny", "--out", "o",
                                           "--data", "sets"]  # fmt: skip
    simulated = {"command": "python -m benchmarks.cut_least", "simulated": True}
    assert command(simulated, Path("o"))[1:] == ["-m", "benchmarks.cut_least", "--out", "o"]


def test_numbers_are_compared_where_they_stand() -> None:
    found = dict(numbers(PROOF))
    assert found["datasets.0.claims.0.gain"] == 0.25
    assert found["datasets.0.claims.0.shown"] == 1
    assert "seconds" not in found
    moved = json.loads(json.dumps(PROOF))
    moved["datasets"][0]["claims"][0]["gain"] += 1e-9
    assert compared(PROOF, moved) == (5, [], [])
    moved["datasets"][0]["claims"][0] = {"gain": 0.5}
    assert compared(PROOF, moved) == (
        4,
        ["datasets.0.claims.0.gain: 0.250000, now 0.500000"],
        ["datasets.0.claims.0.shown"],
    )


def test_intervals_of_an_older_method_are_not_compared_and_bounds_are() -> None:
    row = {"gain": 0.25, "gain_lower95": 0.1, "p": 0.01, "method": {"acc1": 0.5, "ci95": [0.4, 0.6]}}
    old = {"kind": "proof", "date": "2026-11-30T14:05:21+00:00", "datasets": [{"claims": [row]}]}
    moved = json.loads(json.dumps(old))
    moved["datasets"][0]["claims"][0] |= {"gain_lower95": 0.2, "p": 0.02, "method": {"acc1": 0.5, "ci95": [0.3, 0.7]}}
    bound = "datasets.0.claims.0.gain_lower95: 0.100000, now 0.200000"
    assert compared(old, moved) == (3, [bound], [])
    count, lines, _ = compared({**old, "date": "2026-12-03T00:00:00+00:00"}, moved)
    assert (count, len(lines)) == (6, 4)


def test_a_result_is_run_once_and_written_over_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").mkdir()
    written = tmp_path / "results" / "gda.json"
    written.write_text(json.dumps(PROOF))
    calls = []

    def fake(line: list[str], **more: Any) -> None:
        calls.append(more["env"]["OMP_NUM_THREADS"])
        again = {**PROOF, "datasets": [{"dataset": "demo:clothes", "claims": [{"gain": 0.5, "shown": True}]}]}
        (Path(line[line.index("--out") + 1]) / "gda.json").write_text(json.dumps(again))

    monkeypatch.setattr(results.subprocess, "run", fake)
    where = ["--out", str(tmp_path / "out")]
    assert main(["gda", *where], tmp_path / "results") == 5
    assert "gain: 0.250000, now 0.500000" in capsys.readouterr().out
    assert main(["gda", "--over", *where], tmp_path / "results") == 5
    assert main([*where], tmp_path / "results") == 0
    assert calls == ["1"]
    assert json.loads(written.read_text())["datasets"][0]["claims"][0]["gain"] == 0.5
    monkeypatch.setattr(results.subprocess, "run", lambda line, **more: None)
    (tmp_path / "out" / "gda.json").unlink()
    assert main([*where], tmp_path / "results") == 1
    with pytest.raises(SystemExit, match="no result 'nothing'"):
        main(["nothing"], tmp_path / "results")
