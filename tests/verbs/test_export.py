from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import diptych
from diptych.core import BoundBroken, DiptychError, UsageError
from diptych.tasks.export.gate import Gate, Parity
from diptych.tasks.export.tower import Exported, Graph
from diptych.tasks.export.tower import export as write
from tests.backbones.engines.test_engine import Mixed, Small
from tests.support.encoders import Photos
from tests.tasks.export.test_tower import Both


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    return Both(Small(Mixed().eval()))


def test_python_gives_each_graph_with_its_cosines(backbone: Both) -> None:
    with pytest.warns(UserWarning, match=r"text: not exported \("):
        exported = diptych.export(backbone, "out", images=Photos(range(0, 250, 50)))
    assert exported.paths == ("out/image/model.onnx",)
    assert exported[0].path.is_file()
    assert exported[0].parity.least > 0.99999
    assert exported.data["out"] == "out"
    assert list(exported.data["parity"]) == ["image"]
    assert str(exported).startswith("small as onnx in out\nmodel.onnx  image: cosine to torch at least 1.0000000")
    assert exported.to_pandas()["items"].tolist() == [5]
    with pytest.raises(UsageError, match="out holds an export: give another out= or overwrite="):
        diptych.export(backbone, "out")


def test_a_broken_bound_is_an_error_after_all_is_written(backbone: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **named: Any) -> Exported:
        assert named["allowed"] == pytest.approx(0.01)
        return Exported(Path("out"), "onnx", {"image": Parity(9, 1.0, 1.0, 1.0, 1.0)}, {}, Gate(100, 0.5, 0.4, 0.01))

    monkeypatch.setattr("diptych.tasks.export.tower.export", broken)
    labelled = {"test": [], "classes": ["a"]}
    monkeypatch.setattr("diptych.verbs.export.Export._labelled", lambda asked, context: (labelled, None))
    with pytest.raises(BoundBroken, match=r"from 50\.00 to 40\.00, more than 1 points: do not use out, or choose"):
        diptych.export(backbone, "out", labelled=labelled, max_drop=1.0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"to": "gguf"}, "to= takes onnx, openvino, int8, not 'gguf'"),
        ({"to": "int8"}, "int8 needs images to calibrate on: give images="),
        ({"names": ["a", "b"]}, "so names= has no effect: give labelled= too"),
        ({"max_drop": -1.0}, "max_drop= must be at least 0, got -1.0"),
        ({"limit": 0}, "limit= must be at least 1, got 0"),
        ({"images": "nowhere"}, "There is no file or folder nowhere"),
    ],
)
def test_errors_name_the_arguments_of_python(backbone: Both, given: dict[str, Any], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.export(backbone, "out", **given)
    assert not Path("out").exists()


def test_a_model_elsewhere_than_on_the_cpu_is_refused(backbone: Both, tmp_path: Path) -> None:
    backbone.module().to("meta")
    from diptych.core import Run

    with pytest.raises(UsageError, match="An export starts on the CPU, and this model is on meta: load it there"):
        write(backbone, tmp_path / "out", "onnx", Run())


def test_a_graph_is_plain_data() -> None:
    graph = Graph("image", Path("out/image/model.xml"), Parity(9, 0.5, 0.75, 0.5, 1.0))
    assert graph.as_dict() == {
        "modality": "image", "path": "out/image/model.xml", "items": 9, "least": 0.5, "mean": 0.75, "least_alone": 0.5,
        "mates": 1.0,
    }  # fmt: skip
    assert Exported(Path("out"), "int8", {"image": graph.parity}, {}, None).graphs(Path("out")) == [graph]
