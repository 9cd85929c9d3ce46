from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from diptych.verbs.index_report import IndexReport, promise


def test_a_report_without_photos_names_the_index_alone() -> None:
    report = IndexReport(Path("photo-index"))
    assert report.data([], ["a remark"]) == {"index": "photo-index", "remarks": ["a remark"]}
    assert report.summary(None) == []


def test_marks_are_in_the_data_and_each_level_in_the_summary() -> None:
    report = IndexReport(Path("photo-index"))
    counts = {"entries": 1, "added": 1, "changed": 0, "unchanged": 0, "removed": 0}
    report.result = SimpleNamespace(**counts, as_dict=dict)  # type: ignore[assignment]
    cuts = {
        "0.7": {"share": 0.71, "interval": (0.1, 0.9), "by": "default of lite"},
        "0.8": {"share": 0.81, "interval": (0.7, 0.9), "by": "label"},
        "0.9": "too few marks",
    }
    report.marked = {
        "marks": 1200, "queries": 20, "source": "label", "cuts": cuts, "cut_by": "label", "why_not": "",
    }  # fmt: skip
    assert report.data([], [])["cut"] == report.marked
    first, marks, others, low, high = report.summary(None)
    assert first == "1 entry in photo-index: 1 added, 0 unchanged, 0 removed"
    assert marks == "1,200 answers to 20 queries, marked by the column label"
    assert others == (
        f"  --at-least 0.7: {promise(0.71, (0.1, 0.9))}, by answers marked on other data sets, since these reach it "
        f"nowhere"
    )
    assert low == f"  --at-least 0.8: {promise(0.81, (0.7, 0.9))}"
    assert high == "  --at-least 0.9: too few marks"


def test_a_cut_by_other_marks_is_not_said_to_be_by_these() -> None:
    """40 answers that a person had marked were counted as 0, and the default stood below them as if it were theirs."""
    report = IndexReport(Path("photo-index"))
    report.marked = {
        "marks": 40, "queries": 8, "source": "people", "cuts": {}, "cut_by": "default of lite",
        "why_not": "8 queries are marked, and a cut needs 20: mark more",
    }  # fmt: skip
    assert report.summary(None) == [
        "40 answers to 8 queries, marked by people",
        "Cuts are not by these: 8 queries are marked, and a cut needs 20: mark more. By answers marked on other data "
        "sets:",
    ]
