from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import curators, keys, workers
from benchmarks.__main__ import Entry, one, without_place
from benchmarks.measure import Row, Target, gain, optional
from benchmarks.peers import write_graph

SCRIPT = Path(__file__).parents[2] / "tools" / "benchmarks_table.py"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("benchmarks_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "bench")
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    return module


def steps(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """Make every measured call take the next of some seconds."""
    clock = itertools.chain.from_iterable((0.0, s) for s in seconds)
    monkeypatch.setattr("benchmarks.measure.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("benchmarks.measure.time.sleep", lambda s: None)


def test_contenders_take_turns_and_ratios_are_of_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    row = Row(
        {"a": lambda: order.append("a") or [[1.0, 0.0]], "b": lambda: order.append("b") or [[1.0, 0.0]]},
        items=10,
        own_items={"b": 20},
        targets=(
            Target("b / a", gain("b", "a"), 4.5),
            Target("b / c", gain("b", "c"), 1.0),
            Target("b / a", gain("b", "a"), 3.9, least=False),
        ),
    )
    steps(monkeypatch, 9.0, 9.0, 1.0, 0.5, 3.0, 0.25, 2.0, 4.0)
    found = row.measured(3)
    assert order == ["a", "b"] * 4, "one round first that does not count"
    assert found["rows"]["a"]["seconds"] == 2.0
    assert found["rows"]["a"]["least_seconds"] == 1.0
    assert found["rows"]["b"]["per_second"] == 40.0
    assert found["rows"]["b"]["ratio"] == 8.0
    assert [t["met"] for t in found["targets"]] == [True, None, False]


def test_a_contender_that_computes_something_else_fails_the_row() -> None:
    with pytest.raises(ValueError, match=r"cosine 0\.70711"):
        Row({"a": lambda: [[1.0, 0.0]], "b": lambda: [[1.0, 1.0]]}).measured(1)
    with pytest.raises(ValueError, match="b computes something else: cosine nan"):
        Row({"a": lambda: [[1.0, 0.0]], "b": lambda: [[np.nan, 1.0]]}).measured(1)
    with pytest.raises(ValueError, match="b gives vectors of size"):
        Row({"a": lambda: [[1.0, 0.0]], "b": lambda: [[1.0]]}).measured(1)
    found = Row(
        {"a": lambda: [[1.0, 0.0]], "b": lambda: [[1.0, 1.0]]}, floors={"b": 0.7}, bounds={"b": 0.8, "c": 0.8}
    ).measured(1)
    assert [t["met"] for t in found["targets"]] == [False, None]
    assert found["rows"]["b"]["cosine"] == pytest.approx(0.5**0.5)


def test_a_row_that_cannot_be_measured_says_why_and_missing_peers_are_named() -> None:
    assert one(Entry("measure.no_such_row", (), ()), False, 1)["error"].startswith("AttributeError")
    missing: dict[str, str] = {}
    with optional(missing, "peer"):
        import no_such_library_of_a_peer  # type: ignore[import-not-found]  # noqa: F401
    assert missing == {"peer": "no_such_library_of_a_peer is not installed"}


PLAIN = """
import sys
from pathlib import Path
import torch
from benchmarks.peers import onnxruntime_plain, openvino_plain
runners = [onnxruntime_plain(Path(sys.argv[1])), openvino_plain(Path(sys.argv[1]), "f32")]
print(*(round(float(run({"x": torch.ones(2, 3)}).sum()), 3) for run in runners))
assert "openvino_telemetry" not in sys.modules
assert list(Path.home().iterdir()) == [], list(Path.home().iterdir())
"""


def test_plain_runtimes_run_a_graph_and_tell_nobody(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    linear = torch.nn.Linear(3, 4)
    with torch.no_grad():
        linear.weight.fill_(0.5)
        linear.bias.fill_(0.25)
    graph = write_graph(linear, linear.forward, {"x": torch.zeros(1, 3)}, tmp_path / "model.onnx", any_length=False)
    (tmp_path / "home").mkdir()
    given = {**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    given = {k: v for k, v in given.items() if not k.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(graph)], capture_output=True, text=True, env=given, check=False
    )
    assert (done.returncode, done.stdout) == (0, "14.0 14.0\n"), done.stderr


def test_every_curator_stands_beside_a_script_that_keeps_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert curators.left_out() == {"pathgen": "writes texts with models"}
    curators.fill(tmp_path, 240, 64)
    for system in ("clip-score", "caption-checks:exact", "vector-head"):
        np.save(tmp_path / f"{system}-script.npy", curators.SCRIPTS[system](tmp_path))
        np.save(tmp_path / f"{system}-diptych.npy", curators.curated(tmp_path, system))
        script, ours = curators.kept(tmp_path, system)
        assert 0 < script == ours < 240
    np.save(tmp_path / "clip-score-script.npy", np.zeros(240, dtype=bool))
    with pytest.raises(ValueError, match=r"clip-score and its script keep the same of 70\.00%"):
        curators.kept(tmp_path, "clip-score")
    monkeypatch.delitem(curators.SCRIPTS, "semdedup")
    with pytest.raises(ValueError, match="no script stands beside semdedup"):
        curators.left_out()


def test_shards_are_timed_where_they_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here(keys.Here):
        def __init__(self, address: str) -> None:
            self.size = int(address.removeprefix("local:"))

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(workers, "Cluster", Here)
    with workers.planning(2000, 4) as row:
        found = row.measured(1)
    assert [t["met"] is None for t in found["targets"]] == [False, False]
    assert found["facts"]["shards"] == 4
    for facts in found["facts"]["workers"].values():
        assert (facts["processes"], facts["most_shards_of_one"]) == (1, 4)
        assert 0 < facts["cpu_seconds_a_shard"] <= facts["seconds"]


def test_what_fudd_encodes_is_counted() -> None:
    pytest.importorskip("benchmarks.systems")
    found = one(Entry("systems.follow_ups", (12, 24), ()), False, 1)
    facts = found["facts"]
    assert facts["sentences_encoded"] == facts["distinct_sentences_of_pairs_that_occur"] < facts["sentences_written"]
    assert facts["most_times_a_sentence"] == 1
    assert 0 < facts["pairs_that_occur"] <= facts["pairs"] == 132


def test_the_page_is_made_of_the_file(tool: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("head\n" + tool.START + "old\n" + tool.END + "\ntail\n")
    assert tool.main([]) == 0
    assert "Not measured yet." in page.read_text()
    row = Row(
        {"a": lambda: [[1.0]], "b": lambda: [[1.0]]},
        targets=(Target("b / a", gain("b", "a"), 1e9),),
        missing={"c": "gone"},
        facts={"n": {"x": 0.5}, "t": {"one": {"y": 0.25}}},
    )
    rows = {"good": {**row.measured(1), "load": [0.5, 1.0]}, "bad": {"error": "ValueError: no", "load": [0.5, 2.0]}}
    about = {
        "quick": False,
        "date": "2026-11-25T02:00:00",
        "cores": 2,
        "processor": "P",
        "rounds": 1,
        "seconds": 9.0,
        "command": "x",
        "versions": {"torch": "2"},
    }
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "new.json").write_text(json.dumps({**about, "instructions": "AVX2", "benchmarks": rows}))
    (tmp_path / "bench" / "earlier.json").write_text(json.dumps({**about, "benchmarks": {"good": rows["good"]}}))
    assert tool.main(["--check"]) == 1
    assert tool.main([]) == 0
    text = page.read_text()
    assert text.startswith("head\n")
    assert text.endswith(tool.END + "\ntail\n")
    assert "### earlier\n\n2026-11-25, 2 cores of P, 1 rounds in 9 s, load 0.5 to 1.0" in text
    assert "### new\n\n2026-11-25, 2 cores of P with AVX2, 1 rounds in 9 s, load 0.5 to 2.0. torch 2. `x`" in text
    assert "≥ 1e+09 | **missed** |" in text
    assert "- c: skipped, gone" in text
    assert "- n: x 0.5" in text
    assert "| t | y |\n|---|---:|\n| one | 0.25 |" in text
    assert "Not measured: ValueError: no" in text
    assert tool.main(["--check"]) == 0


def test_the_page_that_ships_is_that_of_the_result_that_ships() -> None:
    spec = importlib.util.spec_from_file_location("benchmarks_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--check"]) == 0, "run python tools/benchmarks_table.py"


def test_the_command_of_a_result_names_no_place_of_one_machine() -> None:
    words = ["--only", "cold", "--out", "/tmp/x.json", "--rounds", "2"]
    assert without_place(words) == without_place(["--only", "cold", "--out=/tmp/x.json", *words[-2:]])
    assert without_place(words) == ["--only", "cold", "--rounds", "2"]
