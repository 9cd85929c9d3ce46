from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import diptych
from diptych.api.model import Model


def test_an_index_without_a_folder_lives_as_long_as_the_object(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("red", "blue"):
        Image.new("RGB", (20, 20), name).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    index = diptych.index(tmp_path / "photos", model=model)
    assert index.entries == 2
    assert Path(index.search("red").paths[0]).name == "red.png"
    assert not list((tmp_path / "here").iterdir()), "nothing is written unasked"
