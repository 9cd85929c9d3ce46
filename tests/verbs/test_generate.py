from __future__ import annotations

import json
from pathlib import Path

import pytest

import diptych
from diptych.core import DiptychError


def test_pictures_come_back_and_are_written_where_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match='never learnt dog in "a dog":'):
        result = diptych.generate(
            ["a red circle", "a dog"], count=1, steps=2, seed=1, anyway=True, out=tmp_path / "out"
        )
    assert result.names == ("a-red-circle-1", "a-dog-1")
    assert result.labels == ("a red circle", "a dog")
    assert result[0].after.shape == (3, 32, 32)
    listing = json.loads((tmp_path / "out" / "generate.json").read_text())
    assert listing["pictures"] == [
        {"name": "a-red-circle-1", "text": "a red circle"},
        {"name": "a-dog-1", "text": "a dog"},
    ]
    assert (listing["backbone"], listing["denoiser"], listing["steps"]) == ("tiny", "small", 2)
    assert listing["remarks"] == list(result.remarks)
    assert (tmp_path / "out" / "a-dog-1.png").is_file()
    with pytest.raises(DiptychError, match="exists: give another out= or overwrite="):
        diptych.generate("a red circle", count=1, steps=2, out=tmp_path / "out")


def test_nothing_is_written_where_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    diptych.generate("a red circle", count=1, steps=2)
    assert list(tmp_path.iterdir()) == []


def test_a_tilde_in_out_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    diptych.generate("a red circle", count=1, steps=1, out="~/drawn")
    assert (tmp_path / "home" / "drawn" / "generate.json").is_file()
    assert list(work.iterdir()) == []


def test_words_without_quotes_are_texts_of_their_own_and_say_so() -> None:
    with pytest.warns(UserWarning, match="3 texts are drawn apart: .* as one, as in 'a red circle'"):
        result = diptych.generate(["a", "red", "circle"], count=1, steps=1)
    assert len(result.remarks) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give a pipeline of yours as denoiser=, or continue anyway with anyway="),
        ({"steps": 0}, "steps= must be at least 1"),
        ({"fitted": "kept"}, "give method=, or leave like=, fitted=, variant= and settings= out"),
        ({"method": "galip"}, "learns from photos with captions: give like="),
        ({"method": "galip", "guidance": 2.0}, "galip does not read guidance=: leave it out"),
    ],
)
def test_errors_name_the_arguments_of_python(given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.generate("a dog on the beach", **given)  # type: ignore[arg-type]
