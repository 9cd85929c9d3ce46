"""What verbs run where no system is named is in the catalog, under the verb that runs it."""

from __future__ import annotations

import pytest

from diptych import catalog
from diptych.core import Classifier
from diptych.tasks import defaults


@pytest.mark.parametrize(
    ("slug", "verb"),
    [
        *((slug, "classify") for slug in (defaults.CLASSIFIER, *defaults.DEMO)),
        (defaults.SEGMENTER, "segment"),
        (defaults.DETECTOR, "detect"),
        (defaults.WORD_DETECTOR, "detect"),
        (defaults.CAPTIONER, "caption"),
        (defaults.EDITOR, "edit"),
        (defaults.REWRITER, "rewrite"),
        (defaults.RETRIEVER, "retrieve"),
        (defaults.CURATOR, "curate"),
        (defaults.SCORE_CURATOR, "curate"),
        (defaults.FINETUNING, "finetune"),
        (defaults.PRETRAINING, "pretrain"),
    ],
)
def test_a_default_is_a_system_of_its_verb(slug: str, verb: str) -> None:
    assert catalog.card(slug)["verb"] == verb


def test_default_rows_stand_on_the_cards() -> None:
    for row in defaults.RETRIEVER_ROWS.values():
        catalog.row(catalog.find(defaults.RETRIEVER), row)
    catalog.row(catalog.find(defaults.EDITOR), defaults.EDITOR_ROW)
    catalog.row(catalog.find(defaults.REWRITER), defaults.REWRITER_ROW)


def test_the_default_classifier_needs_names_alone() -> None:
    assert not catalog.find(defaults.CLASSIFIER, Classifier).card.needs.evidence
