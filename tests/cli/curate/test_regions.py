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
    assert "IoU of 0.5 with one of it, % 100 (3-100)" in " ".join(got.out.split())
    assert (photos / "regions.csv").read_text().count("\n") == 3
    assert diptych("curate", "regions", "photos.csv").code == 2  # it exists
    got = diptych("curate", "regions", "photos.csv", "--overwrite", "--json")
    assert got.data == {"out": "regions.csv", "photos": 1, "regions": 2, "skipped": [], "remarks": []}


def test_a_command_that_was_stopped_goes_on_and_ends_with_the_same_bytes(
    diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "bc":
        table().items[0].save(photos / f"{name}.png")
    (photos / "broken.png").write_bytes(b"no picture")
    rows = "a.png,a red car\nbroken.png,a cat\nb.png,a blue boat\nc.png,a red car beside a blue boat\n"
    (photos / "photos.csv").write_text(f"path,caption\n{rows}")
    asked, seen, limit = ("curate", "regions", "photos.csv", "--json", "--out"), list[int](), [2]

    class Stopped(Halves):
        def propose(self, image: Any, words: Any = (), /) -> Any:
            if len(seen) == limit[0]:
                raise KeyboardInterrupt
            seen.append(1)
            return super().propose(image, words)

    monkeypatch.setattr("diptych.backbones.sources.proposers.load_proposer", lambda name: Stopped())
    got = diptych(*asked, "o.csv")
    assert (got.code, len(seen), (photos / "o.csv").exists()) == (130, 2, False)
    assert "Interrupted: what was finished is in o.csv.unfinished" in got.err
    assert "the same command goes on from there" in got.err
    limit[0] = 9
    (photos / "photos.csv").write_text(f"path,caption\n{rows.replace('blue boat', 'red boat', 1)}")
    again = diptych(*asked, "o.csv")
    assert (again.code, len(seen)) == (3, 4), "the first two but for the photo with another caption"
    whole = diptych(*asked, "whole.csv")
    assert (photos / "o.csv").read_bytes() == (photos / "whole.csv").read_bytes()
    assert {**again.data, "out": 0} == {**whole.data, "out": 0}
    assert [row["path"].rpartition("/")[2] for row in whole.data["skipped"]] == ["broken.png"]
    assert whole.data["skipped"][0]["reason"] == "not a picture of a known format"
    assert "1 result is from the same command, which was stopped" in again.err
    assert not (photos / "o.csv.unfinished").exists()


def test_an_agent_names_places_of_photos_without_captions(diptych: Cli, photos: Path) -> None:
    with agent_server() as address:
        got = diptych("curate", "regions", "a.png", "--agent", f"m@{address}", "--json")
    assert got.code == 0
    assert got.data["photos"] == 1
    got = diptych("curate", "regions", "photos.csv", "--agent", "m@http://h/v1", "--captions", "caption", "--out", "b")
    assert got.code == 2
    assert "leave out --captions" in got.err
