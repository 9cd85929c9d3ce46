"""What verbs run where no system is named is in the catalog, under the verb that runs it."""

from __future__ import annotations

import pytest

from diptych import catalog
from diptych.core import Classifier, Editor
from diptych.tasks import defaults
from diptych.tasks.defaults import default

VERBS = {"head": "classify", "link": "retrieve", "untrained": "extend"}
"""First word of a key -> verb of the card, where they differ."""


@pytest.mark.parametrize("key", [*defaults.DEFAULTS, *(f"demo {slug}" for slug in defaults.DEMO)])
def test_a_default_is_a_row_of_a_system_of_its_verb(key: str) -> None:
    verb, _, case = key.partition(" ")
    slug, row = (case, "") if verb == "demo" else defaults.slug_and_row(key)
    card = catalog.card(slug)
    assert card["verb"] == ("classify" if verb == "demo" else VERBS.get(verb, verb))
    assert not row or row in card["variants"]


def test_a_default_is_made_with_settings() -> None:
    assert default("classify", Classifier) == catalog.find("zero-shot")()
    assert default("head", Classifier, C=2.0).C == 2.0  # type: ignore[attr-defined]
    assert default("edit", Editor) == catalog.row(catalog.find("deltaedit"), "small")
    with pytest.raises(KeyError):
        default("fly", Classifier)


def test_the_default_classifier_needs_names_alone() -> None:
    assert not catalog.find(defaults.DEFAULTS["classify"], Classifier).card.needs.evidence
