from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core.errors import DataError, UsageError
from diptych.features.picked_tiles import PickedTiles, read_tiles

ONE = PickedTiles("b", "s", {"x.svs": (("x.svs@0,0", "attribute"),)}, 5, 1, (("x.svs@9,9", "damaged tile"),))
TWO = PickedTiles("b", "s", {"a.svs": (("a.svs@0,0", "cluster"), ("a.svs@0,9", "finding"))}, 7)


def test_plans_of_slides_merge_in_any_order() -> None:
    merged = ONE.merge(TWO)
    assert merged == TWO.merge(ONE)
    assert merged.report() == {
        "slides": 2, "tiles": 12, "picked": 3, "by_attribute": 1, "by_finding": 1, "by_cluster": 1, "broken": 1,
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"a\.svs is in both plans"):
        TWO.merge(TWO)
    with pytest.raises(UsageError, match="cannot be merged"):
        ONE.merge(PickedTiles("b", "other", {}))


def test_a_plan_comes_back(tmp_path: Path) -> None:
    ONE.merge(TWO).write(tmp_path / "plan")
    assert read_tiles(tmp_path / "plan", "pathgen") == ONE.merge(TWO)
    (tmp_path / "bad").write_text('{"diptych": "picked tiles"}')
    with pytest.raises(DataError, match="is no plan of pathgen"):
        read_tiles(tmp_path / "bad", "pathgen")
