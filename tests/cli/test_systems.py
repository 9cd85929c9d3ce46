"""What ``diptych systems`` says of proofs: what was reached, never what is hoped for."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych import catalog
from diptych.backbones.weights import read_state

Cli = Callable[..., Any]


def entry(slug: str, proof: dict[str, Any] | None, result: dict[str, Any] | None) -> dict[str, Any]:
    return {
        **next(c for c in catalog.cards() if c["slug"] == "gda"),
        "slug": slug,
        "proof": proof,
        "result": result,
        "headlines": [],
    }


PLAN = {
    "claim": "It gains.",
    "control": "Shuffled it does not.",
    "datasets": ["cats", "dogs"],
    "seeds": 5,
    "planned_stage": "reduced",
}
RESULT = {
    "shown": True,
    "stage": "reduced",
    "of_this_proof": True,
    "seeds": 5,
    "datasets": ["cats"],
    "backbone": "lite",
    "date": "2026-11-24",
}
CARDS = [
    entry("good", PLAN, RESULT),
    entry("missed", PLAN, {**RESULT, "shown": False, "stage": None, "datasets": ["cats", "dogs"]}),
    entry("earlier", PLAN, {**RESULT, "of_this_proof": False}),
    entry("idle", PLAN, None),
    entry("free", None, None),
]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "cards", lambda: CARDS)
    monkeypatch.setattr(catalog, "card", lambda slug: next(c for c in CARDS if c["slug"] == slug))


@pytest.mark.usefixtures("known")
def test_the_table_says_what_each_proof_reached(diptych: Cli) -> None:
    lines = {words[0]: line for line in diptych("systems").out.splitlines() if (words := line.split())}
    assert "proof" in lines["system"]
    for slug, words in (
        ("good", "shown, reduced"),
        ("missed", "not shown"),
        ("earlier", "not run again"),
        ("idle", "not run"),
        ("free", "none planned"),
    ):
        assert f" {words} " in lines[slug]


@pytest.mark.usefixtures("known")
def test_a_card_says_what_was_planned_what_was_reached_and_what_is_open(diptych: Cli) -> None:
    good, missed, earlier, idle, free = (diptych("systems", card["slug"]).out for card in CARDS)
    assert "Planned: reduced, on cats, dogs, 5 seeds." in good
    assert "Result: shown, reduced, on cats with lite, 2026-11-24; not run on dogs." in good
    assert "Result: not shown, on cats, dogs with lite, 2026-11-24." in missed
    assert "Result: not run again (the result is of another claim or control)." in earlier
    assert "Result: not run." in idle
    assert "Result: none planned." in free
    assert "Planned" not in free


def test_a_verb_in_the_place_of_a_system_is_told(diptych: Cli) -> None:
    got = diptych("systems", "segment")
    assert (got.code, "run 'diptych systems --verb segment'" in got.err) == (2, True)


@pytest.mark.usefixtures("known")
def test_json_holds_the_result_beside_the_plan(diptych: Cli) -> None:
    assert [c["result"] for c in diptych("systems", "--json").data] == [c["result"] for c in CARDS]
    one = diptych("systems", "missed", "--json").data
    assert (one["result"]["stage"], one["proof"]["planned_stage"]) == (None, "reduced")


def test_a_system_of_another_verb_is_said_to_be_one(diptych: Cli) -> None:
    got = diptych("systems", "gda", "--verb", "segment")
    assert (got.code, got.err.strip()) == (2, "gda is a system of classify, not of segment: leave --verb out.")
    assert diptych("systems", "gda", "--verb", "classify").code == 0


def test_a_file_that_is_not_there_or_no_weights_is_named_before_a_released_file_is_asked_for(
    diptych: Cli, tmp_path: Path
) -> None:
    missing = diptych("systems", "coop", "--weights", tmp_path / "none.pt", "--out", "o")
    assert missing.code == 2
    assert "none.pt" in missing.err
    assert "--released" not in missing.err
    (tmp_path / "page.pt").write_text("<!doctype html><html></html>")
    page = diptych("systems", "coop", "--weights", tmp_path / "page.pt", "--out", "o")
    assert "web page" in page.err
    assert "--released" not in page.err
    assert "nothing is published" in diptych("systems", "gda", "--weights", tmp_path / "none.pt", "--out", "o").err


class Scale(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ctx = torch.nn.Parameter(torch.ones(4, 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.ctx


@pytest.mark.parametrize("slug", [("laclip", "laclip-b16"), ("coop", "coop", "-b", "tiny", "--names", "cat,dog")])
@pytest.mark.parametrize("kind", ["archive", "objects"])
def test_a_file_that_can_run_code_is_refused_with_a_command_and_no_flag_that_is_not_there(
    slug: tuple[str, ...], kind: str, diptych: Cli, tmp_path: Path
) -> None:
    file, (system, released, *more) = tmp_path / "w.pt", slug
    if kind == "archive":
        torch.jit.script(Scale()).save(str(file))
    else:
        torch.save({"state_dict": {"ctx": torch.ones(4, 64)}, "config": argparse.Namespace(rate=1)}, file)
    refused = diptych("systems", system, "--weights", file, "--released", released, *more, "--out", tmp_path / "o")
    assert refused.code == 2
    assert "can run code" in refused.err
    assert "allow" not in refused.err
    command = shlex.split(re.search(r"by (python -c '.*')\.$", refused.err.strip())[1])  # type: ignore[index]
    subprocess.run([sys.executable, *command[1:]], check=True)
    assert torch.equal(read_state(tmp_path / "w.tensors.pt", allow_pickle=None)["ctx"], torch.ones(4, 64))
