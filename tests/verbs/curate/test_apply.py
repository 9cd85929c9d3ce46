from __future__ import annotations

import pytest

import diptych
from diptych.core import DiptychError
from diptych.methods.curate.clip_score import CLIPScoreFilter


def test_a_plan_chooses_from_its_pool_with_what_it_was_given() -> None:
    plan = diptych.curate("pool.txt", metadata="names.txt")
    kept = plan.apply("kept", t=5)
    assert (kept.seen, len(kept), kept.broken) == (101, kept.kept, 0)
    assert 10 <= len(kept) < 40
    table = kept.to_pandas()
    assert list(table.columns[:2]) == ["position", "title"]
    assert len(table) == len(kept)
    with pytest.raises(DiptychError, match=r"^kept holds a curation: give another out=, or resume= to continue it"):
        plan.apply("kept", t=5)
    assert plan.apply("kept", t=5, resume=True).kept == len(kept)


def test_settings_of_the_plan_and_of_the_pass_are_laid_over_each_other() -> None:
    plan = diptych.curate("pairs.csv", settings={"share": 0.5}, method="clip-score")
    assert len(plan.apply("half")) < len(plan.apply("most", settings={"share": 0.95}))
    assert len(plan.apply("all", settings=["threshold=-1"])) == 13


def test_a_system_is_taken_as_it_is() -> None:
    plan = diptych.curate("pairs.csv", method=CLIPScoreFilter(threshold=-1.0))
    assert len(plan.apply("all")) == 13


def test_a_tail_is_a_remark() -> None:
    plan = diptych.curate("pool.txt", metadata="names.txt")
    with pytest.warns(UserWarning, match="entries below it have"):
        kept = plan.apply("kept", tail=0.2)
    assert kept.remarks[0].startswith("t = ")


def test_other_pools_are_applied_to_by_the_function() -> None:
    plan = diptych.curate(["pool.txt", "pool.txt"], metadata="names.txt")
    with pytest.raises(DiptychError, match="This plan is of 2 pools"):
        plan.apply("kept")
    kept = diptych.curate.apply("pool.txt", plan, "kept", metadata="names.txt", t=float("inf"))
    assert len(kept) == 100


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"t": "many"}, "t= takes a number of texts or inf, not 'many'"),
        ({"t": 5, "tail": 0.1}, "tail= says what t is, so t= has no effect"),
        ({"share": 0.5}, "metaclip does not read share=, but clip-score and vector-head do"),
        ({"method": "semdedup", "bits": 3}, "found by the vector alone, so bits= has no effect"),
        ({"out": None}, "give out="),
        ({"plan": "absent.parquet"}, "There is no plan absent.parquet: write one first"),
        ({"only": "cat"}, "metaclip does not read only="),
    ],
)
def test_errors_name_the_arguments_of_python(given: dict[str, object], says: str) -> None:
    plan = diptych.curate("pool.txt", metadata="names.txt", out="plan.parquet")
    with pytest.raises(DiptychError, match=says):
        diptych.curate.apply("pool.txt", **{"plan": plan, "out": "kept", **given})  # type: ignore[arg-type]
