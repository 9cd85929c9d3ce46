"""The page on export reads a photo as diptych does: upright, and on white where it is transparent."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import diptych

PAGE = Path(__file__).parents[2] / "docs" / "cli" / "export.md"


def stored(name: str, path: Path) -> None:
    pixels = np.random.default_rng(4).integers(0, 255, (90, 140, 4), dtype=np.uint8)
    pixels[:, :70, 3] = 0
    picture = Image.fromarray(pixels)
    if name == "transparent":
        picture.save(path, "PNG")
        return
    turned = Image.Exif()
    turned[0x0112] = 6 if name == "turned" else 1
    picture.convert("L" if name == "grey" else "RGB").resize((141, 70)).save(path, "JPEG", exif=turned)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export")
    diptych.export("tiny", path / "lite-onnx")
    return path


@pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["plain", "turned", "transparent", "grey"])
def test_the_program_without_diptych_gives_its_vectors(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    stored(name, Path("photo.jpg"))
    (program,) = re.findall(r"```python\n(import json.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    gc.collect()  # the page leaves the file of the photo open
    vector = names["vector"] / np.linalg.norm(names["vector"])
    ours = diptych.load("tiny", engine="torch", cache=False).encode_image("photo.jpg")[0]
    assert float(vector @ ours) > 0.9999
