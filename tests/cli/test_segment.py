from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.dense_colours import DenseColours, halves, masked_folder
from tests.support.image_files import truncated

Cli = Callable[..., Any]


@pytest.fixture
def photo(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.load.load", lambda name="lite", **more: DenseColours(name=name))
    (tmp_path / "photos").mkdir()
    halves("red", "blue", 600, 400).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos" / "a.png"


def test_one_photo_gives_three_files_and_a_line(diptych: Cli, photo: Path, tmp_path: Path) -> None:
    got = diptych("segment", photo, "--names", "red, blue, green")
    assert got.code == 0
    assert got.out.startswith("a.png  red 5")
    assert sorted(p.name for p in (tmp_path / "segments").iterdir()) == ["a.json", "a.labels.png", "a.overlay.png"]
    labels = np.asarray(Image.open(tmp_path / "segments" / "a.labels.png"))
    assert labels.shape == (400, 600)
    assert labels[200, 20] == 0
    assert labels[200, 580] == 1
    data = json.loads((tmp_path / "segments" / "a.json").read_text())
    assert data["classnames"] == ["red", "blue", "green"]
    assert sum(a["area"] for a in data["areas"]) == pytest.approx(1.0, abs=1e-4)
    again = diptych("segment", photo, "--names", "red, blue")
    assert again.code == 2
    assert "--overwrite" in again.err
    assert diptych("segment", photo, "--names", "red, blue", "--overwrite").code == 0


def test_background_and_json(diptych: Cli, photo: Path, tmp_path: Path) -> None:
    got = diptych("segment", photo, "--names", "red", "--background", "blue, yellow", "--threshold", "0.3", "--json", "--out", "o")
    assert got.code == 0
    assert [a["label"] for a in got.data["photos"][0]["areas"]] in (["background", "red"], ["red", "background"])
    assert got.data["background"] == ["blue", "yellow"]
    assert Path(got.data["photos"][0]["overlay"]).exists()


def test_a_broken_photo_is_named_and_the_code_is_3(diptych: Cli, photo: Path) -> None:
    truncated(photo.parent / "half.jpg")
    got = diptych("segment", photo.parent, "--names", "red, blue")
    assert got.code == 3
    assert "half.jpg" in got.err
    assert "1 overlays" in got.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["photos/a.png"], "No class names"),
        (["photos/a.png", "--names", "red", "--threshold", "0.5"], "background"),
        (["photos/a.png", "--names", "red", "--method", "gda"], "no segmenter"),
        (["photos/a.png", "--names", "red", "--method", "maskclop"], "maskclip"),
        (["none.png", "--names", "red"], "no file"),
    ],
)
def test_usage_errors_are_one_sentence_and_code_2(diptych: Cli, photo: Path, words: list[str], says: str) -> None:
    got = diptych("segment", *words)
    assert got.code == 2
    assert says in got.err
    assert got.out == ""


def test_prove_finds_its_photos_in_the_folder_of_diptych_data(
    diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked_folder(tmp_path / "msrc_small")
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    got = diptych("prove", "maskclip")
    assert "mIoU %" in got.out
    assert "msrc_small" in got.out
    assert json.loads((tmp_path / "results" / "maskclip.json").read_text())["metric"] == "miou"
