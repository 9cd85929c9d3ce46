"""The doctor of the installation."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from diptych.core.errors import EXTRAS
from diptych.tasks import doctor
from tests.support.colours import ColourBackbone


def signs(found: doctor.Examination) -> dict[str, doctor.Sign]:
    return {s.name: s for s in found.signs}


def test_a_whole_installation_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name: ColourBackbone())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = doctor.examine(tmp_path / "cache")
    broken = [s for s in found.signs if s.state == "broken" and s.name not in doctor.NEEDED]
    assert broken == []
    assert "4 numbers a picture" in signs(found)["backbone lite"].detail
    assert signs(found)["HF_HUB_OFFLINE"].detail == "1"
    assert found.as_dict()["signs"][0]["name"] == "python"


def test_what_is_broken_or_missing_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "no-such-package"))
    monkeypatch.setattr(doctor, "EXTRAS", {"moon": ("no_such_module",)})
    file = tmp_path / "file"
    file.write_text("")
    found = doctor.examine(file / "cache", backbone="nonsense")
    seen = signs(found)
    assert not found.ok
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
