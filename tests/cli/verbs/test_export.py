from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.core import UnreadableItem, errors
from diptych.tasks.export.gate import Gate, Parity
from diptych.tasks.export.tower import Exported
from tests.support.colours import colour_folder

Cli = Callable[..., Any]


def test_a_backbone_that_no_graph_can_hold_is_one_sentence(diptych: Cli, tmp_path: Path) -> None:
    answer = diptych("export", "lite", "--out", tmp_path / "out")
    assert answer.code == 1
    assert "cannot be exported" in answer.err


@pytest.mark.parametrize(
    ("exported", "skipped", "code"),
    [
        (0.5, (), 0),
        (0.5, (UnreadableItem("a.jpg", "truncated JPEG"),), 3),
        (0.49, (UnreadableItem("a.jpg", "truncated JPEG"),), 5),
    ],
)
def test_all_is_shown_before_the_gate_closes(
    diptych: Cli, monkeypatch: pytest.MonkeyPatch, exported: float, skipped: tuple[UnreadableItem, ...], code: int
) -> None:
    made = Exported(
        Path("out"),
        "onnx",
        {"image": Parity(9, 1.0, 1.0, 1.0, 1.0)},
        {"text": "no"},
        Gate(100, 0.5, exported, 0.003),
        skipped,
    )
    monkeypatch.setattr("diptych.tasks.export.tower.export", lambda *given, **named: made)
    answer = diptych("export", "lite", "--out", "out")
    assert answer.code == code
    assert (
        f"top-1: 50.00 in torch, {100 * exported:.2f} exported, {100 * exported - 50:+.2f} points, over 100 images"
        in answer.out
    )
    assert "text: not exported (no)" in answer.err
    assert ("a.jpg: truncated JPEG" in answer.err) == bool(skipped)
    assert ("Top-1 falls from 50.00 to 49.00, more than 0.3 points: do not use out" in answer.err) == (code == 5)
    data = diptych("export", "lite", "--out", "out", "--json")
    assert data.code == code
    assert (data.data["gate"]["exported"], len(data.data["skipped"]), bool(data.data["broken"])) == (
        exported,
        len(skipped),
        code == 5,
    )


def test_without_onnx_the_remedy_is_told_before_a_model_is_loaded(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = errors.find_spec
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "onnx" else find(name))
    monkeypatch.setattr("diptych.backbones.sources.load.load", None)
    got = diptych("export", "lite", "--to", "onnx", "--out", tmp_path / "e")
    assert got.code == 1
    assert "run pip install onnx" in got.err
    assert not (tmp_path / "e").exists()


def test_usage_errors(diptych: Cli, tmp_path: Path) -> None:
    assert diptych("export", "lite", "--to", "gguf").code == 2
    assert diptych("export", "lite", "--to", "int8", "--out", tmp_path / "out").code == 2


def test_classify_says_which_engine_runs_and_keeps_torch_where_asked(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 1})
    words = ("classify", folder, "--names", "red, green, blue")
    assert "image encoder: torch, fp32; not onnxruntime fp32" in diptych(*words, "--verbose").err
    assert "encoder:" not in diptych(*words).err
    assert "lite on cpu, fp32" in diptych(*words).err
    assert "onnxruntime" not in diptych(*words, "--verbose", "--engine", "torch").err
    assert diptych("classify", folder, "--names", "red, green, blue", "--engine", "tpu").code == 2


def test_int8_without_what_runs_it_is_one_sentence(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 1})
    for words in (["--engine", "torch"], ["--engine", "onnx"]):
        answer = diptych("encode", folder, "--precision", "int8", *words)
        assert answer.code == 2
        assert "int8 runs on the CPU in OpenVINO" in answer.err
