from __future__ import annotations

from pathlib import Path

import pytest

from diptych.api.loading import model_of
from diptych.api.model import Model
from tests.support.colours import ColourBackbone


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load a backbone that knows colours under any name, in an empty folder with a cache of its own."""
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=name))
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> Model:
    return model_of(ColourBackbone())
