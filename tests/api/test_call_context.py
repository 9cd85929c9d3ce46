from __future__ import annotations

from pathlib import Path

import pytest

from diptych.api.call_context import CallContext
from diptych.api.model import Model
from diptych.core import UsageError
from diptych.verbs.detect import Detect


def context(model: Model, out: Path | None = None, *, overwrite: bool = False) -> CallContext:
    return CallContext(model, Detect(photos=[]), None, out, overwrite=overwrite)


def test_a_loaded_model_is_taken_as_it_is(model: Model) -> None:
    assert context(model).model() is model
    assert context(model).encoders("image")[0] is model


def test_files_of_an_earlier_call_are_refused_unless_they_may_be_replaced(model: Model, tmp_path: Path) -> None:
    context(model).free("detect.json")
    context(model, tmp_path).free("detect.json")
    (tmp_path / "detect.json").write_text("{}")
    context(model, tmp_path, overwrite=True).free("detect.json")
    with pytest.raises(UsageError, match=r"detect\.json"):
        context(model, tmp_path).free("detect.json")


def test_without_a_cluster_there_are_no_workers(model: Model) -> None:
    assert context(model).crew() is None
    assert context(model).workers("cpu") is None
