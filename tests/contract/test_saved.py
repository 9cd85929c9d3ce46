"""Whatever a system fits is saved and loaded with equal outputs: of every row of every card, or the reason stands here.

The comparison is a promise, ``what_is_fitted_can_be_saved``, which the tests of the roles ask each row for.
"""

from __future__ import annotations

from typing import Any

import pytest

from diptych import catalog
from diptych.core import Kit
from diptych.testing.contract import Exam, exams
from tests.support.contract import EXCUSED, parts, short

PROMISE = "what_is_fitted_can_be_saved"
REFUSAL = "a_folder_that_does_not_fit_is_refused"
NOTHING_FITTED = {
    "concept-association-bias": "it counts answers of the models that are given",
    "counteranimal": "it counts answers of the models that are given",
    "holistic-robustness": "it measures the models that are given",
    "mmvp": "it counts answers of the models that are given",
    "quality-not-quantity": "it compares the models that are given",
    "shortcut-learning": "it counts answers of the models that are given",
}
"""Audits: their answer is a report, and no fitted object is left that a folder could hold."""
ROWS = [exam for card in catalog.cards() for exam in exams(catalog.find(card["slug"]), settings=short(card["slug"]))]


@pytest.mark.parametrize("exam", [pytest.param(e, id=f"{e.card.slug}-{e.variant}") for e in ROWS])
def test_every_row_is_saved_and_loaded_or_fits_nothing(exam: Exam) -> None:
    asked, slug = set(exam.promises()), exam.card.slug
    assert (PROMISE in asked) == (slug not in NOTHING_FITTED)
    assert exam.further or (REFUSAL in asked) == (slug not in NOTHING_FITTED)
    assert PROMISE not in EXCUSED.get(slug, {})


@pytest.mark.parametrize("slug", NOTHING_FITTED)
def test_a_reason_is_still_needed(slug: str) -> None:
    """Such a system has no ``fit``, and what it answers with are the models that it was given."""
    system: Any = catalog.find(slug)
    assert not hasattr(system, "fit")
    (exam, *_) = exams(system, settings=short(slug), parts=parts(slug))
    assert isinstance(exam.first.fitted, Kit)
