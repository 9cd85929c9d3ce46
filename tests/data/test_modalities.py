"""One table says what a path holds and how it is opened; other packages add to it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from diptych.core import UnreadableItem, UsageError, entry_points
from diptych.data import modalities as table
from diptych.data.format import Request
from diptych.data.modalities import CLIPS, CLOUDS, STARS, Modality, modality, modality_of
from diptych.data.stars import Star
from tests.support.colours import coloured
from tests.support.moving import video
from tests.support.sky import sky

NOISES = Modality("noises", "noise", "noises", "noise", lambda path: path.endswith(".noise"), CLIPS.opened)
NOT_ONE = 3


def outside(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = [EntryPoint(f"p{i}", value, entry_points.MODALITIES) for i, value in enumerate(values)]
    monkeypatch.setattr(entry_points, "entry_points", lambda group: points)


def test_paths_are_recognised(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.xyz", np.zeros((3, 3)))
    video(tmp_path / "a.mp4", 4)
    coloured(tmp_path / "a.png", "red", 0)
    assert modality_of(tmp_path / "a.xyz") is CLOUDS
    assert modality_of(tmp_path / "a.mp4") is CLIPS
    assert modality_of(tmp_path / "a.png") is None
    assert modality_of("demo:photos") is None
    assert modality_of(sky(tmp_path / "sky")) is STARS
    assert modality("clouds") is CLOUDS
    with pytest.raises(UsageError, match="no modality 'sounds', only clouds, stars, clips"):
        modality("sounds")


def test_each_opens_what_its_systems_take(tmp_path: Path) -> None:
    for kind in ("red", "blue"):
        folder = tmp_path / "clips/train" / kind / "one"
        folder.mkdir(parents=True)
        coloured(folder / "0.png", kind, 0)
    data = CLIPS.open([str(tmp_path / "clips")], Request(frames=3))
    assert (data.classes, len(data.split("train").items[0])) == (("blue", "red"), 3)
    stars = STARS.open([str(sky(tmp_path / "sky"))])
    assert isinstance(stars.split("test").items[0], Star)
    assert {split: len(t) for split, t in stars.splits.items()} == {"train": 15, "test": 8, "unlabelled": 1}
    with pytest.raises(UnreadableItem, match="15 measurements in one band"):
        stars.split("test").items[6]
    with pytest.raises(UsageError, match="Give one table of light curves"):
        STARS.open(["a.csv", "b.csv"])


def test_a_package_adds_one_and_a_broken_one_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    outside(monkeypatch, f"{__name__}:NOISES")
    assert modality_of("x.noise") is NOISES
    outside(monkeypatch, f"{__name__}:NOISES", f"{__name__}:NOT_ONE", "no_such_package:X")
    with pytest.warns(UserWarning, match="The modality .* cannot be used: (ModuleNotFound|it is a int)") as caught:
        assert list(table.modalities()) == ["clouds", "stars", "clips", "noises"]
    assert len(caught) == 2
