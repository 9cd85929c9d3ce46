from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from tests.support.backbone import SmallBackbone


def test_blind_pairs_among_pictures_by_an_encoder_of_ones_own() -> None:
    found = diptych.audit.blind("set", vision=SmallBackbone(seed=4), top=0.3, bottom=0.5, out="blind.json")
    assert [f.measure for f in found] == ["blind_share"]
    assert found.data["findings"][0]["about"] == "set"
    assert Path("blind.json").is_file()
    assert found.to_pandas()["measure"].tolist() == ["blind share about set"]
    photos = [str(p) for p in sorted(Path("set").glob("*.png"))]
    same = diptych.audit.blind(photos, vision=SmallBackbone(seed=4).image, settings={"top": 0.3, "bottom": 0.5})
    assert same[0].value == found[0].value
    assert same.data["settings"] == {"top": 0.3, "bottom": 0.5}


def test_wrong_shares_and_files_are_named_as_python_spells_them() -> None:
    with pytest.raises(UsageError, match=r"top must be in \(0, 1\), got 2"):
        diptych.audit.blind("set", top=2)
    with pytest.raises(UsageError, match=r"out= writes \.json, not 'a\.html'"):
        diptych.audit.blind("set", out="a.html")
