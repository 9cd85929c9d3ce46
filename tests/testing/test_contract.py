from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from diptych import catalog
from diptych.core import Card, Method, UsageError
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.testing import ContractBroken, check_system, checks
from diptych.testing.contract import EXAMS, exams
from diptych.testing.roles.training import TrainingExam


@dataclass(frozen=True)
class Wrong(ZeroShot):
    """A system without a source."""

    card: ClassVar[Card] = replace(ZeroShot.card, slug="Wrong Slug", variants={"": {}}, offers=("reasons",))


def test_every_system_of_the_catalog_has_an_exam_for_each_row() -> None:
    for card in catalog.cards():
        found = exams(catalog.find(card["slug"]))
        assert [exam.variant for exam in found] == list(card["variants"])
        assert [exam.further for exam in found] == [False] + [True] * (len(found) - 1)
    (exam, *_) = exams(catalog.find("laclip"))
    assert isinstance(exam, TrainingExam), "it is a rewriter too, and is trained first"


def test_all_that_is_broken_is_listed_in_one_error() -> None:
    with pytest.raises(ContractBroken) as caught:
        check_system(Wrong)
    first, *lines = str(caught.value).split("\n  ")
    assert first.startswith("Wrong breaks 3 of ")
    assert [line.split(":")[0] for line in lines] == [
        "the_card_is_complete",
        "parameters_are_frozen_and_documented",
        "the_card_offers_what_is_given",
    ]
    assert isinstance(caught.value, AssertionError)


def test_an_excuse_takes_a_promise_out_and_must_name_one() -> None:
    names = [name for name, _ in checks(ZeroShot)]
    left = [name for name, _ in checks(ZeroShot, excused={"same_seed_same_bits": "a reason"})]
    assert [n for n in names if n not in left] == ["same_seed_same_bits"]
    with pytest.raises(UsageError, match="'sleep' is no promise of ZeroShot"):
        checks(ZeroShot, excused={"sleep": "a reason"})


def test_what_has_no_role_is_refused() -> None:
    for thing in (Method, int, ZeroShot()):
        with pytest.raises(UsageError, match="is no system of a role: derive it from one of"):
            checks(thing)  # type: ignore[arg-type]
    assert len(EXAMS) == 13


def test_one_fit_is_shared_by_the_promises_of_a_row() -> None:
    fits: list[Any] = []

    @dataclass(frozen=True)
    class Counted(ZeroShot):
        card: ClassVar[Card] = replace(ZeroShot.card, variants={"": {}})

        def fit(self, *given: Any) -> Any:
            fits.append(given)
            return super().fit(*given)

    shared = ("answers_as_its_role_says", "same_seed_same_bits", "global_state_is_untouched", "no_items_get_no_answers")
    for name in shared:
        dict(checks(Counted))[name]()
    assert len(fits) == 1 + 2 + 2 + 1, "each list of checks has an exam of its own"
    fits.clear()
    asked = dict(checks(Counted))
    for name in shared:
        asked[name]()
    assert len(fits) == 2


def test_importing_it_needs_no_pytest() -> None:
    code = "import sys, diptych.testing; sys.exit('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
