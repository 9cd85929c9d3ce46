from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.colours import colour_folder

Cli = Callable[..., Any]


def test_a_backbone_that_no_graph_can_hold_is_one_sentence(diptych: Cli, tmp_path: Path) -> None:
    found = diptych("export", "lite", "--out", tmp_path / "out")
    assert found.code == 1
    assert "cannot be exported" in found.err


def test_usage_errors(diptych: Cli, tmp_path: Path) -> None:
    assert diptych("export", "lite", "--to", "gguf").code == 2
    assert diptych("export", "lite", "--to", "int8", "--out", tmp_path / "out").code == 2


def test_classify_says_which_engine_runs_and_keeps_torch_where_asked(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 1})
    assert "image encoder: torch, fp32; not onnxruntime fp32" in diptych("classify", folder, "--names", "red, green, blue").err
    assert "onnxruntime" not in diptych("classify", folder, "--names", "red, green, blue", "--engine", "torch").err
    assert diptych("classify", folder, "--names", "red, green, blue", "--engine", "tpu").code == 2


def test_int8_without_what_runs_it_is_one_sentence(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 1})
    for words in (["--engine", "torch"], ["--engine", "onnx"]):
        found = diptych("encode", folder, "--precision", "int8", *words)
        assert found.code == 2
        assert "int8 runs on the CPU in OpenVINO" in found.err
