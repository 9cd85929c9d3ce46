from __future__ import annotations

import diptych
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs.audit.steps import AUDIT


def test_the_function_of_the_group_judges_pairs() -> None:
    assert diptych.audit is diptych.audit.pairs
    assert (AUDIT.main, next(iter(AUDIT.steps))) == ("pairs", "groups")


def test_every_step_but_the_report_runs_a_system_by_default() -> None:
    assert {f"audit {step}" for step in AUDIT.steps} - {"audit report"} == {d for d in DEFAULTS if "audit" in d}
