"""The verdicts on proofs that are not shown are functions of their results."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tools import not_shown
from tools.not_shown import ABSENT, CONTROLLED, OPEN, RESULTS, decided, table


def proof(*claims: tuple[float, float], controls: tuple[tuple[float, float], ...] = ()) -> dict[str, Any]:
    """Return a result of one data set with claims and controls of a gain and its bound."""

    def compared(gain: float, low: float) -> dict[str, Any]:
        return {"over": "x", "gain": gain, "gain_lower95": low, "shown": low > 0, "failed": low <= 0}

    data = {"dataset": "d", "claims": [compared(*c) for c in claims], "controls": [compared(*c) for c in controls]}
    return {"slug": "gda", "shown": False, "datasets": [data]}


@pytest.mark.parametrize(
    ("result", "needed", "word"),
    [
        (proof((0.01, -0.01)), 0.04, ABSENT),  # up to 0.03
        (proof((0.01, -0.01)), 0.02, OPEN),
        (proof((-0.02, -0.03)), 0, ABSENT),  # no gain at all
        (proof((0.0, 0.0)), 0, ABSENT),
        (proof((0.01, -0.01)), 0, OPEN),
        (proof((0.01, -0.01), (-0.05, -0.06)), 0.02, ABSENT),  # one claim is enough
        (proof((0.03, 0.01), controls=((0.02, 0.01),)), 0.01, CONTROLLED),
        (proof((0.01, -0.01), controls=((0.02, 0.01),)), 0.04, ABSENT),
        (proof((0.01, -0.01), controls=((0.0, -0.01),)), 0.02, OPEN),
    ],
)
def test_a_verdict_is_that_of_intervals(result: dict[str, Any], needed: float, word: str) -> None:
    assert decided(result, needed)[0] == word


def besides(result: dict[str, Any], gain: float, low: float, data: str = "d") -> dict[str, Any]:
    """Return a result with a twin "spoiled" beside its claims."""
    twin = {"name": "spoiled", "over": "gda", "gain": gain, "gain_lower95": low, "twin": {}}
    parts = [{**d, "dataset": data if data == d["dataset"] else "other", "beside": [twin]} for d in result["datasets"]]
    return {**result, "datasets": parts}


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (besides(proof((0.03, -0.03)), -0.004, -0.022), ABSENT),  # no better than spoiled by more than 0.014
        (besides(proof((0.03, -0.03)), 0.03, -0.022), OPEN),  # by 0.082
        (besides(proof((0.03, 0.01), controls=((0.02, 0.01),)), -0.004, -0.022), CONTROLLED),  # its claim is shown
    ],
)
def test_what_lacks_the_cause_decides_where_the_system_is_no_better(result: dict[str, Any], word: str) -> None:
    verdict, (_, comparison) = decided(result, 0.069, "spoiled")
    assert verdict == word
    assert decided(result, 0.069)[0] != ABSENT
    assert decided(result, 0.069, "another twin")[0] != ABSENT
    if word == ABSENT:
        text = not_shown.compared("d", comparison)
        assert text == "over its twin, spoiled, `d`: -0.0040 (-0.0220 to +0.0140)"


def test_a_proof_without_a_miss_has_no_verdict() -> None:
    with pytest.raises(ValueError, match="no claim that misses"):
        decided(proof((0.03, 0.01)), 0.01)


def test_the_table_counts_verdicts_and_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(not_shown, "_plan", lambda slug: {"not_shown": "protocol: two photos"})
    known = {"gda": {"needed": 0.04, "source": "ours", "rests_on": "guess", "evidence": "none"}}
    text = table([proof((0.01, -0.01))], known)
    counts = "0 undecided, 0 decided: its control gains too, 1 decided: not here."
    assert text.startswith(f"1 proofs are not shown: {counts}")
    assert "experiments isolated the reasons of 0. The reasons of 1 are guesses." in text
    assert "over x, `d`: +0.0100 (-0.0100 to +0.0300) | +0.0400 (ours) | protocol: two photos | guess | none |" in text


def test_the_table_counts_undecided_proofs_whose_reason_is_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(not_shown, "_plan", lambda slug: {"not_shown": "protocol: two photos"})
    known = {"gda": {"needed": 0.02, "source": "ours", "rests_on": "experiment", "evidence": "none"}}
    assert "isolated the reasons of 1. The reasons of 0" in table([proof((0.01, -0.01))], known)
    known["gda"]["needed"] = 0.04  # decided by its interval
    assert "isolated the reasons of 0. The reasons of 0" in table([proof((0.01, -0.01))], known)


def test_every_proof_that_is_not_shown_is_known_and_no_other() -> None:
    known = tomllib.loads((RESULTS / "needed.toml").read_text(encoding="utf-8"))
    assert set(known) == {result["slug"] for result in not_shown.not_shown()}
    assert {about["rests_on"] for about in known.values()} <= {"experiment", "result", "guess"}
