from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DiptychError
from tests.features.test_region_labels import Halves, table


def test_regions_have_boxes_and_phrases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.proposers.load_proposer", lambda name: Halves())
    table().items[0].save(tmp_path / "a.png")
    Path("photos.csv").write_text("path,caption\na.png,a red car beside a blue boat\n")
    results = diptych.curate.regions("photos.csv")
    assert results.title == "2 regions of 1 photos"
    assert (results[0].boxes.shape, len(results[0].phrases)) == ((2, 4), 2)
    assert results.labels[0] == ", ".join(results[0].phrases)
    assert results[0].as_dict()["boxes"][0] == results[0].boxes[0].tolist()
    diptych.curate.regions("photos.csv", out="regions.csv")
    assert Path("regions.csv").read_text().startswith("image,x0,y0,x1,y1,phrase\n")


def test_an_agent_reads_no_captions() -> None:
    with pytest.raises(DiptychError, match="leave out captions=, or agent="):
        diptych.curate.regions("pairs.csv", agent="m@http://h/v1", captions="caption")
