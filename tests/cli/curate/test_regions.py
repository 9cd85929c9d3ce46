from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.features.test_region_labels import Halves, table
from tests.support.colours import ColourBackbone
from tests.support.servers.agent import agent_server

Cli = Callable[..., Any]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    monkeypatch.setattr("diptych.backbones.sources.proposers.load_proposer", lambda name: Halves())
    table().items[0].save(tmp_path / "a.png")
    (tmp_path / "photos.csv").write_text("path,caption\na.png,a red car beside a blue boat\n")
    (tmp_path / "true.csv").write_text("image,x0,y0,x1,y1,category\na.png,0,0,20,20,car\n")
    return tmp_path


def test_regions_are_written_and_judged(diptych: Cli, photos: Path) -> None:
    got = diptych("curate", "regions", "photos.csv", "--truth", "true.csv")
    assert (got.code, got.err.splitlines()[-1]) == (0, "regions.csv")
    assert "IoU of 0.5 with one of it, % 100 (100-100)" in " ".join(got.out.split())
    assert (photos / "regions.csv").read_text().count("\n") == 3
    assert diptych("curate", "regions", "photos.csv").code == 2  # it exists
    got = diptych("curate", "regions", "photos.csv", "--overwrite", "--json")
    assert got.data == {"out": "regions.csv", "photos": 1, "regions": 2, "skipped": []}


def test_an_agent_names_places_of_photos_without_captions(diptych: Cli, photos: Path) -> None:
    with agent_server() as address:
        got = diptych("curate", "regions", "a.png", "--agent", f"m@{address}", "--json")
    assert got.code == 0
    assert got.data["photos"] == 1
    got = diptych("curate", "regions", "photos.csv", "--agent", "m@http://h/v1", "--captions", "caption", "--out", "b")
    assert got.code == 2
    assert "leave out --captions" in got.err
