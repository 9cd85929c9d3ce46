from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DataError, UsageError
from tests.support.colours import colour_folder

ONLY = "holistic-robustness"


@pytest.fixture
def own(tmp_path: Path) -> str:
    return str(colour_folder(tmp_path / "own", {"test": 12}, ("red", "blue")))


@pytest.mark.filterwarnings("ignore:Not testable here:UserWarning", "ignore:Broken:UserWarning")
def test_a_report_is_findings_a_page_and_verdicts(own: str) -> None:
    result = diptych.audit.report(
        own, only=ONLY, at_least={"accuracy": 1.01}, at_most="drop:darker=1", out="r.html",
        settings={f"{ONLY}.factors": "darker"},
    )  # fmt: skip
    assert result.remarks[-1].startswith("Broken: accuracy at least 1.01 (lite). ")
    assert {f.about for f in result if f.measure == "drop" and f.value is not None} == {"darker"}
    assert [b["broken"] for b in result.data["bounds"]] == [False, True]
    assert result.data["settings"] == {f"{ONLY}.factors": "darker"}
    assert "own: audit of lite" in Path("r.html").read_text()
    assert result.title.endswith("findings about lite")
    with pytest.raises(UsageError, match=r"r\.html exists: give another out= or overwrite="):
        diptych.audit.report(own, only=ONLY, out="r.html")


def test_wrong_audits_settings_and_data_are_named(own: str) -> None:
    with pytest.raises(UsageError, match="'clip4dm' audits no models"):
        diptych.audit.report(own, only="clip4dm")
    with pytest.raises(UsageError, match="'most' audits no models"):
        diptych.audit.report(own, only=ONLY, settings={"most": 20})
    with pytest.raises(UsageError, match="A bound is MEASURE=NUMBER"):
        diptych.audit.report(own, at_most="drop")
    with pytest.raises(DataError, match=r"Nothing could be tested on own: .*group"):
        diptych.audit.report(own, only="counteranimal")
