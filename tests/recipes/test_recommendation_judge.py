from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from diptych.api.loading import model_of
from recipes import recommendation_judge
from tests.support.colours import ColourBackbone, colour_folder


def test_each_set_has_the_expected_gain_and_that_of_its_test_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    model = model_of(ColourBackbone())
    monkeypatch.setattr("recipes.recommendation_judge.diptych.load", lambda name: model)
    folder, out = colour_folder(tmp_path / "photos", {"train": 4, "test": 3}), tmp_path / "judged.json"
    monkeypatch.setattr(sys, "argv", ["judge", str(folder), "--out", str(out), "--most", "3"])
    recommendation_judge.main()
    (row,) = json.loads(out.read_text())["sets"]
    assert (row["photos"], row["test"]) == (15, 15)
    low, high = row["expected"][1:]
    assert row["inside"] == (low <= row["test_gain"][0] <= high)
    assert "photos" in capsys.readouterr().out
