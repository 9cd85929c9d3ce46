from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.formats.test_mmvp import mmvp_folder
from tests.data.formats.test_winoground import winoground_folder
from tests.support.backbone import SmallBackbone
from tests.support.colours import COLOURS, coloured
from tests.support.image_files import truncated

Cli = Callable[..., Any]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: SmallBackbone())
    monkeypatch.setattr("diptych.backbones.sources.vision.load_vision", lambda name, **more: SmallBackbone(seed=4))


@pytest.mark.usefixtures("small")
def test_pictures_and_the_published_layout(diptych: Cli, tmp_path: Path) -> None:
    for i in range(12):
        coloured(tmp_path / "photos" / f"{i}.png", list(COLOURS)[i % 3], i, noise=20.0)
    got = diptych(
        "audit", "blind", tmp_path / "photos", "--vision", "timm:any", "--top-share", "0.3", "--out", "b.json"
    )
    assert got.code == 0
    assert got.out.startswith("blind share, photos: ")
    assert " % of 12 pictures have a twin that the second encoder alone tells apart\n" in got.out
    got = diptych("audit", "blind", mmvp_folder(tmp_path / "vlm", 10), "--json")
    assert [f["measure"] for f in got.data["findings"]] == ["pair_accuracy"] * 3
    got = diptych("audit", "blind", winoground_folder(tmp_path / "winoground", 10))
    assert got.out.startswith("pair accuracy, winoground:")
    assert "each picture chooses its statement:" in got.out
    got = diptych("audit", "blind", tmp_path / "photos", "--vision", "timm:any", "--top-share", "2")
    assert got.code != 0
    assert "must be in (0, 1), got 2" in got.err
    (tmp_path / "broken").mkdir()
    truncated(tmp_path / "broken" / "a.jpg")
    got = diptych("audit", "blind", tmp_path / "broken", "--vision", "timm:any", "--out", "none.json")
    assert (got.code, "The only picture cannot be read: " in got.err) == (1, True)
    assert not Path("none.json").exists()
