from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych.backbones.engines import export as exporter
from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    DiptychError,
    Encoder,
    MissingExtra,
    PixelRecipe,
    Run,
    Spec,
    Table,
    UsageError,
)
from diptych.tasks.export.gate import Gate, Parity
from diptych.tasks.export.tower import Exported, export
from tests.backbones.engines.test_engine import Mixed, Small, Sorted
from tests.support.encoders import Photos, Words


class Both(Backbone):
    """A small convolution beside words that no graph can hold."""

    def __init__(self, image: Small) -> None:
        self._encoders = {"image": image, "text": Words(dim=5)}

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        return self._encoders

    @property
    def score(self) -> Any:
        return "softmax"

    @property
    def spec(self) -> Spec:
        half = (0.5, 0.5, 0.5)
        return Spec("small", "tiny", "conv", "random:0", "relu", "words", 9, 0, "mean", 5, PixelRecipe(16, half, half))

    def scale(self, a: str = "image", b: str = "text") -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(20.0), torch.tensor(0.0)

    def module(self) -> torch.nn.Module:
        return self._encoders["image"].model


@pytest.fixture
def backbone(monkeypatch: pytest.MonkeyPatch) -> Both:
    head = torch.nn.functional.normalize(torch.eye(5)[:2], dim=-1)
    monkeypatch.setattr("diptych.tasks.export.gate.text_head", lambda backbone, prompts, run: head)
    return Both(Small(Mixed().eval()))


def test_writes_a_graph_with_its_parity(tmp_path: Path, backbone: Both) -> None:
    exported = export(backbone, tmp_path / "out", "onnx", Run(), images=Photos([*range(0, 250, 12), -1]), limit=9)
    assert exported.parity["image"].items in (8, 9)
    assert exported.parity["image"].least > 0.99999
    assert (tmp_path / "out" / "image" / "model.onnx").is_file()
    assert "text" in exported.refused
    assert not (tmp_path / "out" / "text" / "model.onnx").exists()
    report = json.loads((tmp_path / "out" / "export.json").read_text())
    assert report["spec"]["pixels"]["size"] == 16
    assert report["broken"] == ""
    with pytest.raises(UsageError, match="holds an export"):
        export(backbone, tmp_path / "out", "onnx", Run())


def test_writes_openvinos_form(tmp_path: Path, backbone: Both) -> None:
    pytest.importorskip("openvino")
    exported = export(backbone, tmp_path, "openvino", Run(), images=Photos(range(0, 250, 50)))
    assert exported.parity["image"].least > 0.99999
    assert sorted(p.name for p in (tmp_path / "image").iterdir()) == ["model.bin", "model.xml"]


def test_int8_is_calibrated_and_no_vector_sees_its_mates(tmp_path: Path, backbone: Both) -> None:
    pytest.importorskip("nncf")
    photos = Photos(range(0, 250, 10))
    labelled = Table(photos, {"label": Column("label", np.zeros(25, dtype=np.int64))})
    exported = export(
        backbone, tmp_path, "int8", Run(), images=photos, labelled=labelled, classes=ClassNames(("a", "b")), allowed=1.0
    )
    exact = exported.parity["image"]
    assert 0.98 < exact.mean < 1.0
    assert abs(exact.least - exact.least_alone) < 1e-6
    assert exact.mates > 0.999999
    assert exported.gate is not None
    assert exported.gate.items == 25
    assert sorted(p.name for p in (tmp_path / "image").iterdir()) == ["model.bin", "model.xml"]


def test_the_gates_break_on_cosine_and_accuracy(
    tmp_path: Path, backbone: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = exporter.to_onnx
    monkeypatch.setattr(
        "diptych.tasks.export.tower.to_onnx", lambda encoder, path: true(Small(Mixed(mates=0.5).eval()), path)
    )
    exported = export(backbone, tmp_path, "onnx", Run(), images=Photos([1, 90, 200]))
    assert "image vectors have a least cosine" in exported.broken()
    assert json.loads((tmp_path / "export.json").read_text())["broken"] == exported.broken()
    good = Parity(9, 1.0, 1.0, 1.0, 1.0)
    assert "batch mates" in Exported(tmp_path, "int8", {"image": replace(good, mates=0.9998)}, {}, None).broken()
    assert Exported(tmp_path, "onnx", {"image": good}, {}, Gate(100, 0.5, 0.497, 0.003)).broken() == ""
    assert (
        "Top-1 falls from 50.00 to 49.00"
        in Exported(tmp_path, "onnx", {"image": good}, {}, Gate(100, 0.5, 0.49, 0.003)).broken()
    )


def test_unreadable_images_are_skipped_and_named(tmp_path: Path, backbone: Both) -> None:
    photos = Photos([1, -1, 90, 200])
    labelled = Table(photos, {"label": Column("label", np.array([0, 0, 1, 0]))})
    exported = export(
        backbone, tmp_path / "out", "onnx", Run(), images=photos, labelled=labelled, classes=ClassNames(("a", "b"))
    )
    assert exported.gate is not None
    assert (exported.parity["image"].items, exported.gate.items) == (3, 3)
    assert [e["reason"] for e in json.loads((tmp_path / "out" / "export.json").read_text())["skipped"]] == [
        exported.skipped[0].reason
    ]
    vectors = backbone.image.encode(backbone.image.inputs([photos[i] for i in (0, 2, 3)])).detach().numpy()
    right = (vectors[:, :2].argmax(1) == [0, 1, 0]).mean()
    assert exported.gate.torch == exported.gate.exported == pytest.approx(right)
    broken = Table(Photos([-1]), {"label": Column("label", np.array([0]))})
    with pytest.raises(UsageError, match="None of the labelled images"):
        export(backbone, tmp_path / "none", "onnx", Run(), labelled=broken, classes=ClassNames(("a", "b")))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_earlier_export_stays_until_the_new_one_is_whole(
    tmp_path: Path, backbone: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(backbone, out, "onnx", Run())
    before = {p.name: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    (out / "README").write_text("mine")
    true = exporter.to_onnx

    def full(encoder: Any, path: Path) -> tuple[str, ...]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diptych.tasks.export.tower.to_onnx", full)
    with pytest.raises(DiptychError, match=r"Cannot write .* \(No space left on device\): free space"):
        export(backbone, out, "onnx", Run(), overwrite=True)
    assert {p.name: p.read_bytes() for p in out.rglob("*") if p.is_file()} == {**before, "README": b"mine"}
    monkeypatch.setattr(
        "diptych.tasks.export.tower.to_onnx", lambda encoder, path: true(Small(Mixed(mates=0.5).eval()), path)
    )
    export(backbone, out, "onnx", Run(), overwrite=True)
    assert (out / "image" / "model.onnx").read_bytes() != before["model.onnx"]
    assert (out / "README").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_not_taken_for_the_encoders_fault(
    tmp_path: Path, backbone: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runtimes_say(encoder: Any, path: Path) -> tuple[str, ...]:
        raise RuntimeError("basic_ios::clear: iostream error")

    def no_space(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diptych.tasks.export.tower.to_onnx", runtimes_say)
    with pytest.raises(DiptychError, match="cannot be exported"):
        export(backbone, tmp_path / "out", "onnx", Run())
    monkeypatch.setattr("diptych.tasks.export.tower._check_space", no_space)
    with pytest.raises(DiptychError, match="No space left"):
        export(backbone, tmp_path / "out", "onnx", Run())
    assert list(tmp_path.iterdir()) == []


def test_usage(tmp_path: Path, backbone: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="holds other files"):
            export(backbone, tmp_path / "mine", "onnx", Run(), overwrite=overwrite)
        with pytest.raises(UsageError, match="is a file"):
            export(backbone, tmp_path / "mine" / "photo.jpg", "onnx", Run(), overwrite=overwrite)
    with pytest.raises(UsageError, match="int8 needs images"):
        export(backbone, tmp_path, "int8", Run())
    with pytest.raises(UsageError, match="'gguf' is unknown"):
        export(backbone, tmp_path, "gguf", Run())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="None of the images can be read"):
        export(backbone, tmp_path / "out", "onnx", Run(), images=Photos([-1]))
    with pytest.raises(DataError, match="no label column"):
        export(backbone, tmp_path / "out", "onnx", Run(), labelled=Table(Photos([1]), {}), classes=ClassNames(("a",)))
    with pytest.raises(DiptychError, match="cannot be exported"):
        export(Both(Small(Sorted().eval())), tmp_path / "out", "onnx", Run())
    monkeypatch.setattr("diptych.tasks.export.tower.openvino_version", lambda: "")
    with pytest.raises(MissingExtra, match="openvino"):
        export(backbone, tmp_path / "out", "openvino", Run())
