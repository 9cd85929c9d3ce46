"""A run from plain values, the same for the command line and for Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.backbones.engines.engine import Engines
from diptych.core import UsageError
from diptych.tasks.runs import EMBEDDINGS, ENGINES, cache_folder, device_named, make_run, precision_named


def test_the_cache_folder_is_given_or_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DIPTYCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "diptych"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "diptych"
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "y"))
    assert cache_folder() == tmp_path / "y"
    assert cache_folder("~/z") == tmp_path / "z"


def test_a_run_holds_what_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "y"))
    run = make_run(precision="fast", cache=tmp_path, seed=3, draft=True)
    assert (run.precision, run.cache, run.seed, run.decode) == ("bf16", tmp_path / EMBEDDINGS, 3, "draft")
    assert isinstance(run.engine, Engines)
    assert run.engine.folder == tmp_path / ENGINES
    bare = make_run(engine="torch")
    assert (bare.engine, bare.cache) == (None, None)


def test_what_cannot_run_is_refused() -> None:
    with pytest.raises(UsageError, match="Precision 'half' is unknown"):
        precision_named("half")
    with pytest.raises(UsageError, match="no device 'toaster'"):
        device_named("toaster")
    with pytest.raises(UsageError, match="int8 runs on the CPU"):
        make_run(precision="int8", engine="onnx")
    assert device_named("cpu") == "cpu"
