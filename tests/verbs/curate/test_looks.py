from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DiptychError


def test_looks_are_items_of_clusters_and_a_table_where_it_is_asked_for() -> None:
    plan = diptych.curate("pairs.csv", method="biomedica", clusters=2, settings={"least_side": 0}, out="plan.parquet")
    looks = plan.looks(count=2)
    assert len(looks) == 4
    assert {look.cluster for look in looks} == {0, 1}
    assert Path(looks[0].name).suffix == ".png"
    assert not Path("looks.csv").exists()
    plan.looks("looks.csv", count=2)
    assert Path("looks.csv").read_text().startswith("cluster,filepath,labels\n")
    with pytest.raises(DiptychError, match=r"^looks\.csv exists: give another out= or overwrite="):
        diptych.curate.looks("plan.parquet", "looks.csv")


def test_there_must_be_a_plan_with_clusters() -> None:
    with pytest.raises(DiptychError, match="There is no plan absent: write one first, by the step plan with"):
        diptych.curate.looks("absent")
    plan = diptych.curate("pool.txt", metadata="names.txt")
    with pytest.raises(DiptychError, match="has no clusters to look at"):
        plan.looks(count=1)
    with pytest.raises(DiptychError, match="count= must be at least 1, got 0"):
        plan.looks(count=0)
