from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, PairScorer
from diptych.data.edits import read_edits
from diptych.tasks.audit.edits import audit_edits
from diptych.tasks.defaults import default
from tests.support.backbone import SmallBackbone
from tests.support.image_files import truncated
from tests.support.pictures import picture


@pytest.fixture
def edits(tmp_path: Path) -> Path:
    for i in range(4):
        picture(i, i).save(tmp_path / f"{i}.png")
    rows = ["source,edit,target,source_attributes,target_attributes"]
    rows += [f"0.png,{i}.png,a blue cup,red|cup,blue|cup" for i in range(3)]
    rows += ["1.png,3.png,a dog,cat|grass,dog|grass", "0.png,3.png,a blue cup,red|cup,blue|cup"]
    (tmp_path / "edits.csv").write_text("\n".join(rows))
    return tmp_path / "edits.csv"


@pytest.mark.filterwarnings("ignore:.* sources have the target's value already", "ignore:The margin is")
def test_edits_of_one_source_and_target_are_ranked_together(edits: Path) -> None:
    ranked = audit_edits(read_edits(edits), SmallBackbone(), method=default("audit edits", PairScorer, margin=0.0))
    assert [r.rank for r in ranked.rows] == [1, 2, 3, 4, 1]
    assert [r.target for r in ranked.rows] == ["a blue cup"] * 4 + ["a dog"]
    scores = [r.score for r in ranked.rows[:4]]
    assert scores == sorted(scores, reverse=True)
    assert {Path(r.edit).name for r in ranked.rows[:4]} == {"0.png", "1.png", "2.png", "3.png"}
    own = next(r for r in ranked.rows if Path(r.edit).name == "0.png")
    assert own.columns["source_similarity"] == pytest.approx(1.0)
    assert ranked.rows[0].as_dict()["rank"] == 1
    assert audit_edits(read_edits(edits), SmallBackbone()).rows[0].score != ranked.rows[0].score


def test_a_broken_source_takes_its_edits_along(edits: Path) -> None:
    truncated(edits.parent / "1.png")
    ranked = audit_edits(read_edits(edits), SmallBackbone())
    assert len(ranked.rows) == 3
    assert [Path(e.name).name for e in ranked.failed] == ["1.png"]
    (edits.parent / "same.csv").write_text(
        "source,edit,target,source_attributes,target_attributes\n0.png,2.png,a cup,cup,cup"
    )
    with pytest.raises(DataError, match="the same attributes"):
        audit_edits(read_edits(edits.parent / "same.csv"), SmallBackbone())
