from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import Control, Finding, UsageError
from diptych.verbs.audit.findings import OTHERS, Audit, Findings, control_of, percent
from diptych.verbs.audit.models import AuditShortcuts

DROP = Finding("lite", "drop", 0.2, (0.1, 0.3), "night", says="It falls.", count=7)
NONE = Finding.not_testable("lite", "accuracy", "There are no labels.")


def test_findings_are_lines_columns_and_plain_data() -> None:
    answer = Findings(AuditShortcuts(data="x"), [DROP, NONE], [], ["A remark."], seed=3)
    items = list(answer)
    assert answer.title(items) == "2 findings about lite"
    assert [answer.line(f) for f in items] == ["20.0 [10.0, 30.0] %  It falls.", "not testable: There are no labels."]
    assert [answer.label(f) for f in items] == ["It falls.", "There are no labels."]
    assert answer.columns(items)["low"] == [0.1, None]
    assert list(answer.data([], [])) == ["seed", "findings", "skipped", "remarks"]
    assert answer.data([], ["A remark."])["remarks"] == ["A remark."]
    assert answer.remarks([]) == ["A remark."]


def test_numbers_and_controls_in_words() -> None:
    assert (percent(DROP), percent(NONE)) == ("20.0 [10.0, 30.0]", "0.0")
    held = Finding("lite", "drop", 0.2, control=Control("drop_random", 0.0, (-0.1, 0.1)))
    assert (control_of(held), control_of(DROP)) == ("held", "")


def test_other_models_are_one_or_several() -> None:
    assert (OTHERS.read("tiny"), OTHERS.read(["a", "b"]), OTHERS.read(None)) == (("tiny",), ("a", "b"), ())


@pytest.mark.parametrize(("suffixes", "words"), [((".json",), r"\.json"), ((".json", ".html"), r"\.json or \.html")])
def test_files_of_other_kinds_are_refused(suffixes: tuple[str, ...], words: str) -> None:
    kind = type("Kind", (Audit,), {"suffixes": suffixes})
    with pytest.raises(UsageError, match=rf"out writes {words}, not 'a\.txt'"):
        kind().check_report(Path("a.txt"))
