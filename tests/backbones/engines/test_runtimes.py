"""Every runtime on tiny random towers: torch's vectors, alone as together, texts of any length; and what int8 must not
do.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.engines import engine, export, quantise, runners
from diptych.backbones.engines.engine import Engines
from diptych.backbones.engines.parity import Reference, Speed
from diptych.backbones.engines.runners import opened
from diptych.backbones.engines.runtimes.onnx import OnnxRunner
from diptych.backbones.engines.runtimes.openvino import OpenVinoRunner
from diptych.backbones.engines.runtimes.report import IR, RuntimeReport, hash_graph
from diptych.backbones.sources.load import load
from diptych.core import MissingExtra, Run, UsageError
from diptych.features.embed import embed
from tests.backbones.engines.test_engine import Mixed, Small
from tests.support.checkpoints import SENTENCES
from tests.support.encoders import Photos, Words

RUNTIMES = [("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("torch", "bf16")]


@pytest.mark.parametrize("modality", ["image", "text"])
def test_towers_give_torchs_vectors_on_every_runtime(
    modality: str, tmp_path: Path, openclip_folder: Callable[..., Path], photos: list[Image.Image]
) -> None:
    pytest.importorskip("openvino")
    encoder = load(f"local:{openclip_folder('vit')}", offline=True).encoders[modality]
    report = RuntimeReport(tmp_path, True, inputs=export.to_onnx(encoder, tmp_path / "model.onnx"))
    items: list[Any] = list(photos) if modality == "image" else [*SENTENCES, "x " * 30, "y " * 75]
    for runtime, precision in RUNTIMES:
        comparison = Reference(encoder, items).compared(opened(encoder, report, runtime, precision))
        assert comparison.least > (runners.EXACT if precision == "fp32" else 0.999), (runtime, precision)
        assert comparison.mates.min() > (1 - 1e-6 if precision == "fp32" else 0.9999), (runtime, precision)


def test_one_graph_serves_lengths_that_it_was_not_traced_with(
    tmp_path: Path, openclip_folder: Callable[..., Path]
) -> None:
    """Texts are trimmed to the longest of a batch; the graph must take each length for what it is, up to the full
    one.
    """
    pytest.importorskip("openvino")
    text = load(f"local:{openclip_folder('vit')}", offline=True).text
    report = RuntimeReport(tmp_path, True, inputs=export.to_onnx(text, tmp_path / "model.onnx"))
    for runner in (OnnxRunner(report), OpenVinoRunner(report)):
        trimmed, full = text.inputs(SENTENCES), torch.zeros(len(SENTENCES), 77, dtype=torch.int64)
        full[:, : trimmed.shape[1]] = trimmed
        assert trimmed.shape[1] < 77
        assert np.allclose(runner(trimmed), runner(full), atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack")
def test_openvino_leaves_the_stack_of_signals_alone(tmp_path: Path, openclip_folder: Callable[..., Path]) -> None:
    """It puts its own in place and unmaps it with the model: a Ctrl-C then ended the process with a segmentation
    fault.
    """
    pytest.importorskip("openvino")
    report = RuntimeReport(
        tmp_path,
        True,
        inputs=export.to_onnx(load(f"local:{openclip_folder('vit')}", offline=True).image, tmp_path / "model.onnx"),
    )
    code = (
        "import sys; from ctypes import CDLL, byref; from pathlib import Path\n"
        "from diptych.backbones.engines.runtimes.report import RuntimeReport\n"
        "from diptych.backbones.engines.runtimes.openvino import OpenVinoRunner\n"
        "from diptych.backbones.engines.runtimes.signal_stack import _Stack\n"
        "def held():\n"
        "    stack = _Stack(); CDLL(None).sigaltstack(None, byref(stack)); return stack.address, stack.flags, "
        "stack.size\n"
        "before, request = held(), OpenVinoRunner(RuntimeReport(Path(sys.argv[1]), True, inputs=('x',)))._request\n"
        "print(held() == before)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, str(report.folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Small:
    """A small encoder, and a clock that finds int8 the fastest."""
    fast = {"int8": 4.0, "bf16": 2.0, "fp32": 1.5}
    monkeypatch.setattr(
        export, "measured_speeds", lambda encoder, forwards, advance: [Speed(fast[f.precision]) for f in forwards]
    )
    return Small(Mixed().eval())


def test_int8_is_made_once_and_keeps_a_space_of_its_own(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf")
    run = Run(cache=tmp_path / "cache", engine=Engines(tmp_path / "engines"), precision="int8")
    photos = Photos(range(0, 250, 25))
    vectors, exact = embed(small, photos, run), embed(small, photos, replace(run, precision="fp32"))
    assert 0.98 < torch.nn.functional.cosine_similarity(vectors, exact).mean() < 1
    assert run.tally["encoded"] == 20
    monkeypatch.setattr(quantise, "quantise", None)
    runner = Engines(tmp_path / "engines").runner(small, run)
    assert isinstance(runner, OpenVinoRunner)
    assert (runner.precision, runner.facts) == ("int8", {"engine": "openvino", "graph": hash_graph(runner.report.path)})
    comparison = Reference(small, [photos[i] for i in range(10)]).compared(runner)
    assert comparison.mates.min() > 1 - 1e-9
    weights = runner.report.path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert engine.read_report(runner.report.folder) is None


def test_texts_are_not_quantised(tmp_path: Path, small: Small) -> None:
    """An error of a class head would be every image's."""
    said: list[str] = []
    runner = Engines(tmp_path, "auto", said.append).runner(Words(dim=5), Run(precision="int8"))
    assert runner is not None
    assert runner.precision == "fp32"
    assert not any("int8" in line for line in said)


def test_int8_that_cannot_be_is_one_sentence(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(precision="int8")
    for kind in ("onnx", "torch"):
        with pytest.raises(UsageError, match="int8 runs in OpenVINO"):
            Engines(tmp_path, kind).runner(small, run)
    with pytest.raises(UsageError, match="int8 runs on the CPU through an engine"):
        embed(small, Photos([1]), Run(precision="int8"))
    monkeypatch.setitem(__import__("sys").modules, "nncf", None)
    with pytest.raises(MissingExtra, match=r"int8 needs nncf: run pip install '\.\[openvino\]'"):
        Engines(tmp_path).runner(small, run)
    assert not list(tmp_path.glob("*-int8-*"))
    monkeypatch.setattr(engine, "openvino_version", lambda: "")
    with pytest.raises(MissingExtra, match="int8 needs openvino"):
        Engines(tmp_path).runner(small, run)


def test_int8_below_its_bound_runs_at_the_next_precision_and_says_why(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setitem(runners.BOUNDS, "int8", 1.0)
    monkeypatch.setitem(runners.BOUNDS, "bf16", 0.9)
    said: list[str] = []
    runner = Engines(tmp_path, "auto", said.append).runner(small, Run(precision="int8"))
    assert runner is not None
    assert runner.precision == "bf16"
    assert "not openvino int8 (cosine to torch" in said[-1]


class Ranged:
    """Dynamic int8 as ONNX Runtime does it, one range for the whole batch, on arithmetic that is the same on every CPU.

    ONNX Runtime's own kernels would not do: without VNNI they saturate, and then even a picture alone is far from
    torch's vector.
    """

    def __init__(self, encoder: Small) -> None:
        self.encoder = encoder

    def __call__(self, x: torch.Tensor) -> np.ndarray[Any, Any]:
        step = x.abs().max() / 127
        with torch.no_grad():
            return self.encoder.encode((x / step).round() * step).numpy()


def test_ranges_taken_from_the_batch_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bright mate, and a dark picture's vector is another. The cosine to torch alone would let it pass."""
    layers = (torch.nn.Linear(768, 64, bias=False), torch.nn.ReLU(), torch.nn.Linear(64, 5, bias=False))
    wide = Small(torch.nn.Sequential(torch.nn.Flatten(), *layers).eval())
    ranged = Ranged(wide)
    monkeypatch.setattr(export, "opened", lambda *given: ranged)
    colours = ((1, 2, 3), (40, 90, 20), (3, 160, 60), (170, 85, 9), (20, 120, 70), (90, 30, 150), (160, 10, 80))
    photos = [Image.new("RGB", (16, 16), colour) for colour in colours]
    comparison = Reference(wide, photos).compared(ranged)
    assert comparison.mean > runners.INT8
    assert comparison.mates.min() < runners.EXACT
    judged = export._measured(
        RuntimeReport(tmp_path, True, inputs=("x",)), Reference(wide, photos), "onnxruntime", "int8"
    )
    assert not judged.supported
    assert "batch mates" in judged.reason


def test_hashes_cover_the_weights(tmp_path: Path) -> None:
    (tmp_path / IR).write_text("<net/>")
    (tmp_path / "model.bin").write_bytes(b"1")
    before = hash_graph(tmp_path / IR)
    (tmp_path / "model.bin").write_bytes(b"2")
    assert hash_graph(tmp_path / IR) != before
