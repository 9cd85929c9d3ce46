"""The doctor of the installation."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from diptych.backbones.engines import export, parity
from diptych.backbones.engines.cached_backbone import remember
from diptych.backbones.engines.engine import Engines
from diptych.backbones.names import EMBEDDED
from diptych.backbones.sources.load import load
from diptych.core import Run
from diptych.core.errors import EXTRAS
from diptych.tasks import doctor
from tests.support.colours import ColourBackbone


def signs(found: doctor.Examination) -> dict[str, doctor.Sign]:
    return {s.name: s for s in found.signs}


def test_a_whole_installation_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name: ColourBackbone())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = doctor.examine(tmp_path / "cache", backbone="lite")
    broken = [s for s in report.signs if s.state == "broken" and s.name not in doctor.NEEDED]
    assert broken == []
    assert "4 numbers per picture" in signs(report)["backbone lite"].detail
    assert signs(report)["HF_HUB_OFFLINE"].detail == "1"
    assert report.as_dict()["signs"][0]["name"] == "python"
    assert "gives torch's vectors" in signs(report)["export to onnxruntime"].detail
    for name in EMBEDDED:
        assert "no runtime was timed here yet" in signs(report)[f"model {name}"].detail


def test_an_export_that_fails_is_broken_with_the_reason_and_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else found_spec(name))
    report = doctor.examine(tmp_path / "cache")
    sign = signs(report)["export to onnxruntime"]
    assert not report.ok
    assert "onnx is not installed" in sign.detail
    assert sign.remedy


def test_what_runs_an_embedded_model_is_read_from_what_was_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def speeds(encoder: object, forwards: list[object], advance: object) -> list[parity.Speed]:
        return [parity.Speed(4.0, 1.5) for _ in forwards]

    monkeypatch.setattr(export, "measured_speeds", speeds)
    backbone = load("tiny")
    Engines(tmp_path / "engines").runner(backbone.image, Run())
    remember("tiny", backbone, tmp_path / "engines", "cpu")
    detail = signs(doctor.examine(tmp_path))["model tiny"].detail
    assert detail.startswith("onnxruntime")
    assert "1.5 x with the decoding of small photos" in detail


def test_it_loads_no_model_library_unless_a_backbone_is_named(tmp_path: Path) -> None:
    look = (
        "import sys; from pathlib import Path; from diptych.tasks.doctor import examine; "
        "examine(Path(sys.argv[1])); print([m for m in ('timm', 'transformers', 'open_clip') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_broken_or_missing_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "no-such-package"))
    monkeypatch.setattr(doctor, "EXTRAS", {"moon": ("no_such_module",)})
    file = tmp_path / "file"
    file.write_text("")
    report = doctor.examine(file / "cache", backbone="nonsense")
    seen = signs(report)
    assert not report.ok
    assert seen["no-such-package"].remedy == "Run pip install no-such-package."
    assert (seen["extra moon"].state, seen["cache"].state) == ("missing", "broken")
    assert seen["backbone nonsense"].state == "broken"
    assert seen["numpy"].state == "ok"
    assert os.environ is not None


def test_it_looks_at_every_package_that_is_declared() -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def named(lines: list[str]) -> tuple[str, ...]:
        return tuple(re.split("[<>=]", line)[0] for line in lines)

    assert named(declared["dependencies"]) == doctor.NEEDED
    extras = {extra: named(lines) for extra, lines in declared["optional-dependencies"].items()}
    assert extras == {extra: tuple(packages) for extra, packages in EXTRAS.items()}
