"""The engine on a small convolution with open_clip's shape of an encoder: parity, records, refusals, two writers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from diptych.backbones.engines import engine, export, parity, runners
from diptych.backbones.engines.engine import Engines
from diptych.backbones.engines.exports import list_exports
from diptych.backbones.engines.runtimes import onnx, openvino, report
from diptych.backbones.engines.runtimes.onnx import OnnxRunner
from diptych.backbones.engines.runtimes.openvino import OpenVinoRunner
from diptych.backbones.engines.runtimes.report import read_report
from diptych.core import DiptychError, MissingExtra, Run, UsageError
from diptych.core.run import SilentProgress
from diptych.data.files import locked
from diptych.features.embed import embed
from tests.support.encoders import Photos


class Mixed(nn.Module):
    """Features of an image; ``mates`` makes them follow the batch."""

    def __init__(self, mates: float = 0.0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 5)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=g)
        self.mates = mates

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x)).mean((2, 3))
        return self.b(h + self.mates * h.sum(0))


@dataclasses.dataclass(frozen=True, eq=False)
class Small:
    model: nn.Module
    fingerprint: str = "ab" * 8
    modality = "image"
    dim = 5
    size = 16

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        return torch.stack(
            [
                torch.from_numpy(np.asarray(i.convert("RGB").resize((16, 16)), np.float32) / 255).permute(2, 0, 1)
                for i in items
            ]
        )

    def encode(self, x: Tensor, /) -> Tensor:
        return self.model(x)


@pytest.fixture
def small() -> Small:
    return Small(Mixed().eval())


Speeds = dict[tuple[str, str], float]


@pytest.fixture(autouse=True)
def speeds(monkeypatch: pytest.MonkeyPatch) -> Speeds:
    """Speeds by runtime and precision, in the place of the clock; ONNX Runtime is twice as fast as torch, the rest like
    it.
    """
    given: Speeds = {("onnxruntime", "fp32"): 2.0}

    def speeds_of(encoder: Any, forwards: Sequence[Any], advance: Any) -> list[parity.Speed]:
        advance(parity.MOST)
        found = [given.get((forward.facts["engine"], forward.precision), 1.0) for forward in forwards]
        return [parity.Speed(speed, 1 + (speed - 1) / 2) for speed in found]

    monkeypatch.setattr(export, "measured_speeds", speeds_of)
    return given


def run_with(tmp_path: Path, kind: str = "auto", precision: str = "fp32", said: list[str] | None = None) -> Run:
    lines = [] if said is None else said
    return Run(
        cache=tmp_path / "cache", engine=Engines(tmp_path / "engines", kind, lines.append), precision=precision, batch=3
    )


def test_gives_torchs_vectors_and_says_so_once(tmp_path: Path, small: Small) -> None:
    said: list[str] = []
    run = run_with(tmp_path, said=said)
    photos = Photos(range(0, 200, 20))
    fast, plain = embed(small, photos, run), embed(small, photos, Run())
    assert torch.nn.functional.cosine_similarity(fast, plain).min() > runners.EXACT
    embed(small, Photos([7]), run)
    assert len(said) == 2
    assert "preparing" in said[0]
    assert "onnxruntime" in said[-1]
    assert "2.0 x torch's fp32 when it was made, 1.5 x with the decoding of small photos" in said[-1]
    assert run.tally["encoded"] == 11


def test_torch_and_onnxruntime_do_not_share_a_space(tmp_path: Path, small: Small) -> None:
    run, photos = run_with(tmp_path), Photos([1, 2, 3])
    embed(small, photos, run)
    again = Run(cache=tmp_path / "cache")
    embed(small, photos, again)
    assert again.tally["encoded"] == 3
    third = run_with(tmp_path)
    embed(small, photos, third)
    assert (third.tally["encoded"], third.tally["cached"]) == (0, 3)


def test_a_vector_does_not_depend_on_its_batch_mates(tmp_path: Path, small: Small) -> None:
    runner = Engines(tmp_path).runner(small, Run())
    assert isinstance(runner, OnnxRunner)
    comparison = parity.Reference(small).compared(runner)
    assert comparison.least > runners.EXACT
    x = small.inputs([Image.new("RGB", (20, 20), (i * 20, 9, 200 - i)) for i in range(9)])
    assert np.allclose(runner(x)[4:5], runner(x[4:5]), rtol=1e-5, atol=1e-5)


def test_an_export_is_made_once(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    Engines(tmp_path).runner(small, Run())
    monkeypatch.setattr(export, "make", None)
    assert Engines(tmp_path).runner(small, Run()) is not None


def test_the_runtimes_of_a_precision_race_each_other_and_a_killed_race_is_run_again(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    raced: list[list[str]] = []

    def killed(encoder: Any, forwards: Sequence[Any], advance: Any) -> list[parity.Speed]:
        raced.append([forward.facts["engine"] for forward in forwards])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "measured_speeds", killed)
        with pytest.raises(KeyboardInterrupt):
            Engines(tmp_path).runner(small, Run())
    assert raced == [["onnxruntime", "openvino"]]
    assert not Engines(tmp_path).decided(small, Run())
    monkeypatch.setattr(export, "make", None)
    assert Engines(tmp_path).runner(small, Run()) is not None
    assert Engines(tmp_path).decided(small, Run())
    monkeypatch.setattr(export, "measured_speeds", killed)
    assert Engines(tmp_path).runner(small, Run()) is not None
    assert len(raced) == 1
    assert not list(tmp_path.glob("*/.facts*"))


def test_speeds_are_ratios_to_torch_in_one_race(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(parity, "_clock", lambda: lambda: now[0])
    takes = {"torch": 6.0, "a": 2.0, "b": 12.0, "read": 3.0}

    def costing(name: str) -> Any:
        def run(*given: Any) -> None:
            now[0] += takes[name]

        return run

    monkeypatch.setattr(parity, "rows", costing("torch"))
    monkeypatch.setattr(parity, "_reading", lambda encoder: costing("read"))
    advanced: list[int] = []
    assert parity.measured_speeds(small, [costing("a"), costing("b")], advanced.append) == [(3.0, 1.8), (0.5, 0.6)]
    assert advanced == [1, 1, parity.MOST - 2], "turns of 23 and 11 seconds: after the third none begins"


@pytest.mark.parametrize(("torchs", "speed"), [(0.0, 1.0), (0.03, 3.0)])
def test_a_clock_that_stood_still_counts_as_its_step(
    small: Small, monkeypatch: pytest.MonkeyPatch, torchs: float, speed: float
) -> None:
    now = [0.0]

    def rows(*given: Any) -> None:
        now[0] += torchs

    def read(x: Any) -> None:
        now[0] += 0.01

    monkeypatch.setattr(parity, "_clock", lambda: lambda: now[0])
    monkeypatch.setattr(parity, "rows", rows)
    monkeypatch.setattr(parity, "_reading", lambda encoder: read)
    ((forward, _),) = parity.measured_speeds(small, [lambda x: None])
    assert forward == pytest.approx(speed)


class Counted(SilentProgress):
    """A bar that counts."""

    def __init__(self) -> None:
        self.count = 0

    def advance(self, n: int = 1) -> None:
        self.count += n


def test_exports_and_turns_of_the_race_move_a_bar_which_a_second_run_does_not_show(
    tmp_path: Path, small: Small
) -> None:
    bars: list[tuple[str, int | None, Counted]] = []

    def bar(name: str, total: int | None) -> Counted:
        bars.append((name, total, Counted()))
        return bars[-1][2]

    Engines(tmp_path, "onnx").runner(small, Run(progress=bar))
    ((name, total, counted),) = bars
    assert name == "time runtimes of the image encoder"
    assert counted.count == total == 1 + parity.MOST
    Engines(tmp_path, "onnx").runner(small, Run(progress=bar))
    assert len(bars) == 1


@pytest.mark.parametrize(
    ("takes", "turns"),
    [
        ([[9, 1, 1, 1, 1, 1, 1, 1, 1], [9, 2, 2, 2, 2, 2, 2, 2, 2]], 4),
        ([[9, 3, 1, 1, 1, 1, 1, 1, 1], [1, 2, 2, 2, 2, 2, 2, 2, 2]], 5),
        ([[9, 1, 2, 1, 2, 1, 2, 1, 2], [9, 2, 1, 2, 1, 2, 1, 2, 1]], parity.MOST),
        ([[1.01] * 9, [1] * 9], parity.MOST),
    ],
)
def test_a_race_goes_on_until_it_has_a_clear_winner(
    takes: list[list[float]], turns: int, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, runs = [0.0], [0, 0]
    monkeypatch.setattr(parity, "_clock", lambda: lambda: now[0])
    monkeypatch.setattr(parity, "LONG", 1000.0)
    monkeypatch.setattr(parity, "_reading", lambda encoder: lambda x: None)

    def contender(number: int) -> Any:
        def run(*given: Any) -> None:
            now[0] += takes[number][runs[number]]
            runs[number] += 1

        return run

    monkeypatch.setattr(parity, "rows", contender(0))
    parity.measured_speeds(small, [contender(1)])
    assert runs == [turns, turns]


def test_who_is_far_behind_runs_two_turns_of_a_race_that_others_go_on_with(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, runs = [0.0], [0, 0, 0]
    monkeypatch.setattr(parity, "_clock", lambda: lambda: now[0])
    monkeypatch.setattr(parity, "LONG", 1000.0)
    monkeypatch.setattr(parity, "_reading", lambda encoder: lambda x: None)

    def contender(number: int, seconds: float) -> Any:
        def run(*given: Any) -> None:
            now[0] += seconds
            runs[number] += 1

        return run

    monkeypatch.setattr(parity, "rows", contender(0, 5.0))
    speeds = parity.measured_speeds(small, [contender(1, 1.0), contender(2, 1.04)])
    assert runs == [2, parity.MOST, parity.MOST]
    assert [speed.forward for speed in speeds] == pytest.approx([5, 5 / 1.04])


def test_torchs_vectors_are_computed_once_for_all_runtimes(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    calls: list[int] = []
    rows = parity.rows
    monkeypatch.setattr(parity, "rows", lambda encoder, x: calls.append(1) or rows(encoder, x))
    assert Engines(tmp_path).runner(small, Run()) is not None
    assert len(calls) == 1


def test_a_second_process_waits_for_the_race_of_the_first_and_makes_nothing(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / engine.LOCK):
            first = pool.submit(Engines(tmp_path).runner, small, Run())
            with pytest.raises(TimeoutError):
                first.result(timeout=0.5)
            assert not list(tmp_path.glob("*/facts.json"))
        assert first.result() is not None
    monkeypatch.setattr(export, "make", None)
    monkeypatch.setattr(export, "race", None)
    assert Engines(tmp_path).runner(small, Run()) is not None


def test_without_a_lock_nobody_waits(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> Any:
        raise PermissionError(13, "no locks here", str(path))

    monkeypatch.setattr(engine, "locked", refused)
    assert Engines(tmp_path).runner(small, Run()) is not None


def test_small_photos_are_decoded_and_resized_where_they_are_timed(small: Small) -> None:
    ((forward, whole),) = parity.measured_speeds(small, [lambda x: parity.rows(small, x)])
    assert forward > 0
    assert abs(whole - 1) < abs(forward - 1) or whole == pytest.approx(forward)
    assert len(parity._reading(small)(None)) == parity.TIMED


def graph_of(folder: Path) -> Path:
    (found,) = folder.glob("*-graph-torch-*/model.onnx")
    return found


def test_a_damaged_export_is_made_again(tmp_path: Path, small: Small) -> None:
    Engines(tmp_path).runner(small, Run())
    with graph_of(tmp_path).open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    measured = next(tmp_path.glob("*-onnxruntime-*"))
    assert read_report(measured) is None
    runner = Engines(tmp_path).runner(small, Run())
    assert runner is not None
    assert runner(small.inputs([Image.new("RGB", (9, 9))])).shape == (1, 5)
    (measured / report.FACTS).write_text("{")
    assert Engines(tmp_path).runner(small, Run()) is not None


def test_what_follows_its_batch_mates_otherwise_than_torch_is_refused(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The self-check sees a graph that is not the encoder."""
    true = export.to_onnx
    monkeypatch.setattr(export, "to_onnx", lambda encoder, path: true(Small(Mixed(mates=0.5).eval()), path))
    said: list[str] = []
    assert Engines(tmp_path, "auto", said.append).runner(small, Run()) is None
    assert "cosine to torch" in said[-1]
    assert "torch, fp32" in said[-1]
    facts = json.loads((next(tmp_path.glob("*-onnxruntime-*")) / report.FACTS).read_text())
    assert facts["supported"] is False
    assert facts["speed"] is None


class Sorted(Mixed):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.linalg.svdvals(x[:, 0]).sum()


def test_an_unsupported_export_says_so_and_runs_in_torch(tmp_path: Path) -> None:
    odd, said = Small(Sorted().eval()), []
    run = run_with(tmp_path, said=said)
    photos = Photos([10, 20])
    assert torch.equal(embed(odd, photos, run), embed(odd, photos, dataclasses.replace(run, engine=None, cache=None)))
    assert "not onnxruntime fp32" in said[-1]
    assert said[-1].count("the export fails") == 1
    assert list((tmp_path / "engines").rglob("model.onnx")) == []
    with pytest.raises(UsageError, match="cannot run with engine onnx"):
        Engines(tmp_path / "engines", "onnx").runner(odd, Run())


@pytest.mark.parametrize("failure", [ImportError("no onnx here"), MemoryError(), "absent"])
def test_a_failure_of_the_environment_is_not_stored(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, failure: Exception | str
) -> None:
    said: list[str] = []
    with monkeypatch.context() as patched:
        if isinstance(failure, Exception):
            patched.setattr(export, "to_onnx", lambda encoder, path: (_ for _ in ()).throw(failure))
        else:
            patched.setattr(export.importlib.util, "find_spec", lambda name: None)
        assert Engines(tmp_path, "auto", said.append).runner(small, Run()) is None
    assert "not onnxruntime fp32" in said[-1]
    assert list(tmp_path.rglob("facts.json")) == []
    assert Engines(tmp_path).runner(small, Run()) is not None, "the next run tries again"


def test_a_full_disk_is_told_and_not_stored(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(encoder: Any, path: Path) -> tuple[str, ...]:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(export, "to_onnx", full)
        with pytest.raises(DiptychError, match=r"No space left on device.*free space"):
            Engines(tmp_path).runner(small, Run())
    assert list(tmp_path.rglob("facts.json")) == []
    assert Engines(tmp_path).runner(small, Run()) is not None


def test_a_refusal_seen_with_another_onnx_is_tried_again(tmp_path: Path, small: Small) -> None:
    """Earlier versions stored a missing package as a fact of the encoder."""
    place = Engines(tmp_path)._folder(small, "onnxruntime", "fp32")
    place.mkdir()
    stale = report.RuntimeReport(
        place, False, "the export fails: Module onnx is not installed!", versions=export.versions() | {"onnx": "0.1"}
    )
    export._write(stale, place / report.FACTS)
    assert Engines(tmp_path).runner(small, Run()) is not None


def test_a_graph_of_an_earlier_exporter_is_written_anew(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with monkeypatch.context() as earlier:
        earlier.setattr(export, "EXPORTER", "1")
        earlier.setattr(report, "EXPORTER", "1")
        Engines(tmp_path, "onnx").runner(small, Run())
    assert {e.outdated for e in list_exports(tmp_path)} == {"of an earlier diptych"}
    assert Engines(tmp_path, "onnx", said.append).runner(small, Run()) is not None
    assert "preparing and timing" in said[0]
    assert [e.outdated for e in list_exports(tmp_path)] == ["", ""]


def test_bf16_keeps_its_bound_or_stays_in_fp32(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, speeds: Speeds
) -> None:
    speeds["torch bf16 weights", "bf16"] = 3.0
    monkeypatch.setitem(runners.BOUNDS, "bf16", 1.0)
    said: list[str] = []
    runner = Engines(tmp_path / "a", "auto", said.append).runner(small, Run(precision="bf16"))
    assert runner is not None
    assert (runner.precision, runner.facts) == ("fp32", {"engine": "onnxruntime"})
    assert "torch bf16 (cosine to torch" in said[-1]
    monkeypatch.setitem(runners.BOUNDS, "bf16", 0.9)
    half = Engines(tmp_path / "b").runner(small, Run(precision="bf16"))
    assert half is not None
    assert half.facts == {"engine": "torch bf16 weights"}
    x = small.inputs([Image.new("RGB", (20, 20), (90, 9, 200))])
    assert np.allclose(half(x), small.encode(x).detach().numpy(), rtol=0.05, atol=0.05)
    assert next(small.model.parameters()).dtype == torch.float32


def test_a_wait_and_a_fall_back_are_remarks_and_a_choice_is_not(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, speeds: Speeds
) -> None:
    speeds["torch bf16 weights", "bf16"] = 3.0
    lines: list[str] = []
    remarks: list[str] = []
    engines = Engines(tmp_path, "auto", lines.append, remarks.append)
    for precision in ("fp32", "bf16"):
        engines.runner(small, Run(precision=precision))
    assert len(lines) == 2
    assert "onnxruntime" in lines[0]
    assert "torch, bf16 weights" in lines[1]
    assert remarks == ["image encoder: preparing and timing runtimes, once for this machine"]
    monkeypatch.setitem(runners.BOUNDS, "bf16", 1.0)
    Engines(tmp_path / "bound", "auto", lines.append, remarks.append).runner(small, Run(precision="bf16"))
    assert len(lines) == 2
    assert "not torch bf16 (cosine to torch" in remarks[-1]


def test_bf16_that_is_slower_is_not_used(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, speeds: Speeds
) -> None:
    speeds["torch bf16 weights", "bf16"] = 0.5
    monkeypatch.setitem(runners.BOUNDS, "bf16", 0.5)
    said: list[str] = []
    runner = Engines(tmp_path, "torch", said.append).runner(small, Run(precision="bf16"))
    assert runner is not None
    assert (runner.precision, runner.facts) == ("fp32", {})
    assert "torch bf16 would be slower (0.5 x)" in said[-1]
    x = small.inputs([Image.new("RGB", (20, 20), (90, 9, 200))])
    assert np.array_equal(runner(x), small.encode(x).detach().numpy())


def test_the_fastest_runs_a_near_tie_goes_to_the_first_and_the_verdict_lasts(
    tmp_path: Path, small: Small, speeds: Speeds
) -> None:
    pytest.importorskip("openvino")

    def chosen(folder: str, kind: str = "auto") -> Any:
        return Engines(tmp_path / folder, kind).runner(small, Run())

    speeds["openvino", "fp32"] = 2.05
    assert chosen("a").facts == {"engine": "onnxruntime"}
    speeds["openvino", "fp32"] = 2.2
    assert chosen("b").facts == {"engine": "openvino"}
    speeds["openvino", "fp32"] = 0.1
    assert chosen("b").facts == {"engine": "openvino"}
    assert chosen("c", "openvino").facts == {"engine": "openvino"}
    speeds["onnxruntime", "fp32"] = 0.9
    assert chosen("d") is None


def test_few_items_run_untimed_and_as_before_when_another_run_has_timed_all(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, speeds: Speeds
) -> None:
    pytest.importorskip("openvino")
    speeds |= {("onnxruntime", "fp32"): 0.5, ("openvino", "fp32"): 2.2}
    said: list[str] = []
    few = partial(Engines, tmp_path, "auto", said.append, few=True)
    with monkeypatch.context() as patch:
        patch.setattr(export, "measured_speeds", None)
        runner = few().runner(small, Run())
        assert runner is not None
        assert runner.facts == {"engine": "onnxruntime"}
        assert parity.Reference(small).compared(runner).least > runners.EXACT
        patch.setattr(export, "make", None)
        assert few().torchless(small, Run())
    assert said[0] == "image encoder: preparing a runtime, once for this machine"
    assert "not timed yet" in said[-1]
    assert list(tmp_path.glob("*-openvino-*")) == []
    assert not Engines(tmp_path).decided(small, Run())
    assert not few().decided(small, Run(precision="bf16"))
    assert Engines(tmp_path).runner(small, Run()).facts == {"engine": "openvino"}
    assert few().runner(small, Run()).facts == {"engine": "onnxruntime"}
    assert "0.5 x torch" in said[-1]


def test_few_items_run_in_what_is_fastest_where_the_first_runtime_is_refused(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, speeds: Speeds
) -> None:
    pytest.importorskip("openvino")
    speeds["openvino", "fp32"] = 2.2
    monkeypatch.setattr(export, "opened", lambda *given: None if given[2] == "onnxruntime" else runners.opened(*given))
    assert Engines(tmp_path, few=True).runner(small, Run()).facts == {"engine": "openvino"}


def test_openvino_gives_torchs_vectors_alone_and_together(tmp_path: Path, small: Small) -> None:
    pytest.importorskip("openvino")
    runner = Engines(tmp_path, "openvino").runner(small, Run())
    assert isinstance(runner, OpenVinoRunner)
    comparison = parity.Reference(small).compared(runner)
    assert comparison.least > runners.EXACT
    x = small.inputs([Image.new("RGB", (20, 20), (i * 20, 9, 200 - i)) for i in range(9)])
    rows = runner(x)
    assert np.allclose(rows[4:5], runner(x[4:5]), rtol=1e-5, atol=1e-5)
    assert rows.flags.owndata


def test_openvino_that_is_absent_is_no_candidate(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "openvino_version", lambda: "")
    assert Engines(tmp_path).runner(small, Run()) is not None
    assert list(tmp_path.glob("*-openvino-*")) == []
    with pytest.raises(MissingExtra, match=r"'\.\[openvino\]' in a checkout"):
        Engines(tmp_path, "openvino")


def test_other_versions_and_processors_measure_for_themselves(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    Engines(tmp_path, "onnx").runner(small, Run())
    monkeypatch.setattr(engine, "onnxruntime_version", lambda: "99.0")
    Engines(tmp_path, "onnx").runner(small, Run())
    monkeypatch.setattr(engine, "processor", lambda: "other")
    Engines(tmp_path, "onnx").runner(small, Run())
    assert len(list(tmp_path.glob("*-onnxruntime-*"))) == 3
    assert len(list(tmp_path.glob("*-onnxruntime-99.0-fp32-other"))) == 1
    graph_of(tmp_path)


QUIET = """
import sys
from importlib import import_module
from pathlib import Path
from diptych.backbones.engines.runtimes.report import RuntimeReport
import numpy as np
module, name = sys.argv[2:]
runner = getattr(import_module(f"diptych.backbones.engines.runtimes.{module}"), name)
runner(RuntimeReport(Path(sys.argv[1]), True, inputs=("x",)))(np.zeros((1, 3, 16, 16), np.float32))
assert not [name for name in sys.modules if name.startswith(("openvino_telemetry", "torch"))]
assert list(Path.home().iterdir()) == [], list(Path.home().iterdir())
"""


@pytest.mark.parametrize("runner", ["onnx OnnxRunner", "openvino OpenVinoRunner"])
def test_runtimes_tell_nobody_and_write_nothing(runner: str, tmp_path: Path, small: Small) -> None:
    """The telemetry of either would leave an identifier in the home folder at the first import."""
    if runner.startswith("openvino"):
        pytest.importorskip("openvino")
    export.to_onnx(small, tmp_path / "model.onnx")
    (tmp_path / "home").mkdir()
    given = {**os.environ, "HOME": str(tmp_path / "home"), "USERPROFILE": str(tmp_path / "home")}
    given = {k: v for k, v in given.items() if not k.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(tmp_path), *runner.split()],
        capture_output=True,
        text=True,
        env=given,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_devices_and_kind_torch_leave_torch_alone(tmp_path: Path, small: Small) -> None:
    assert Engines(tmp_path).runner(small, Run(device="cuda")) is None
    assert Engines(tmp_path, "torch").runner(small, Run()) is None
    assert list(tmp_path.iterdir()) == []


def test_two_writers_end_with_one_whole_export(tmp_path: Path, small: Small) -> None:
    place, found = tmp_path / "engines" / "x", []
    threads = [
        threading.Thread(
            target=lambda: found.append(export.make(parity.Reference(small), place, "onnxruntime", "fp32"))
        )
        for _ in range(2)
    ]
    lock = threading.Lock()
    true = export.to_onnx

    def one_at_a_time(
        encoder: Any, path: Path
    ) -> tuple[str, ...]:  # torch's exporter is not thread-safe; processes are what we mean
        with lock:
            return true(encoder, path)

    export.to_onnx = one_at_a_time  # type: ignore[assignment]
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        export.to_onnx = true
    assert [f.supported for f in found] == [True, True]
    assert found[0].sha256 == found[1].sha256
    assert len(list(place.parent.iterdir())) == 2  # what was measured, and the graph: no drafts


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, small: Small) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DiptychError, match=r"Cannot write the engine folder .*name another folder \(cache, or DIPTYCH_CACHE\)"
    ):
        Engines(tmp_path / "file").runner(small, Run())


def test_unknown_kind() -> None:
    with pytest.raises(UsageError, match="'tpu' is unknown: use auto, torch, onnx, openvino"):
        Engines(Path("x"), "tpu")


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "3")
    assert onnx.session_options().intra_op_num_threads == 3
    assert onnx.session_options(2).intra_op_num_threads == 2
    assert openvino.options("fp32")["INFERENCE_NUM_THREADS"] == 3
    monkeypatch.delitem(os.environ, "OMP_NUM_THREADS")
    assert "INFERENCE_NUM_THREADS" not in openvino.options("fp32")


def test_encoders_that_are_not_served_stay_with_torch_and_leave_nothing(tmp_path: Path) -> None:
    engines = Engines(tmp_path)
    engines.serve(Small(Mixed()))
    assert engines.runner(Small(Mixed(), fingerprint="cd" * 8), Run()) is None
    assert list(tmp_path.iterdir()) == []
    assert isinstance(engines.runner(Small(Mixed()), Run()), OnnxRunner)
