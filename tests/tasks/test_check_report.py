from __future__ import annotations

import json

from diptych.tasks.check_report import CheckReport, Finding


def test_data_without_classes_say_so_and_without_findings_too() -> None:
    assert repr(CheckReport("mine", (), {"test": 36}, ())) == "mine: no classes; 36 test\nNo problem found."


def test_only_errors_make_a_report_bad_and_it_is_plain_data() -> None:
    findings = [
        Finding("small", level, "One picture is small.", "Remove it.") for level in ("note", "warning", "error")
    ]
    assert [CheckReport("x", (), {}, (f,)).ok for f in findings] == [True, True, False]
    plain = json.loads(json.dumps(CheckReport("x", ("a",), {"test": 3}, tuple(findings)).as_dict()))
    assert (plain["ok"], plain["classes"], plain["counts"], len(plain["findings"])) == (False, ["a"], {"test": 3}, 3)
