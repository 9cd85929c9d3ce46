from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.colours import colour_folder

Cli = Callable[..., Any]


def test_lines_name_each_system_and_the_last_one_says_what_to_try(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"train": 6, "test": 2})
    got = diptych("recommend", folder, "--methods", "gda", "--names", "yellow, red, pink, green, blue")
    lines = got.out.splitlines()
    assert got.code == 0
    assert lines[0] == "photos: 30 labelled photos, 6 of each of 5 classes, 5 folds, lite, 95 % intervals"
    assert lines[1].startswith("zero-shot, ensemble  ")
    assert lines[2].startswith("gda                  ")
    assert lines[-1].startswith("Try gda: expect +")


def test_json_and_the_file_hold_the_same(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 4})
    got = diptych("recommend", folder, "--methods", "tip-adapter", "--json", "--out", "advice.json")
    assert got.code == 0
    assert got.data == json.loads((tmp_path / "advice.json").read_text())
    assert next(row["system"] for row in got.data["systems"]) == "zero-shot, ensemble"
    assert got.data["advice"].startswith("Try ")
    assert diptych("recommend", folder, "--out", "advice.json").code == 2


def test_photos_that_cannot_be_read_are_named_and_counted(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 4})
    (folder / "red" / "0.png").write_bytes(b"no picture")
    got = diptych("recommend", folder, "--methods", "tip-adapter")
    assert got.code == 3
    assert "3 to 4 of each of 5 classes" in got.out
