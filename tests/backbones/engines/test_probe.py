"""The probe of the export: a runtime that gives other vectors than torch is named with the reason."""

from __future__ import annotations

import pytest

from diptych.backbones.engines import export
from diptych.backbones.engines.probe import exported


def test_onnxruntime_gives_the_vectors_of_torch() -> None:
    assert exported()["onnxruntime"] == ""


def test_a_runtime_below_its_bound_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(export.BOUNDS, "fp32", 1.1)
    assert "cosine" in exported()["onnxruntime"]
