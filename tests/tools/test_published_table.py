"""The page of published configurations."""

from __future__ import annotations

from diptych import catalog
from tools.published_table import PAGE, page


def test_it_names_every_trained_system_once() -> None:
    text = page()
    assert PAGE.read_text(encoding="utf-8") == text
    for card in catalog.cards():
        trained = card["trains"] != "nothing" and not card["baseline"] and card["verb"] not in ("audit", "curate")
        assert text.count(f"### {card['name']} {{#{card['slug']}}}") == bool(card["published"])
        if trained and not card["published"]:
            assert card["name"] in text.split("## Not found")[1]
