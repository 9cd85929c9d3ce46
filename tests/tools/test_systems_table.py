from __future__ import annotations

from typing import Any

import pytest

from diptych import catalog
from tools import systems_table
from tools.systems_table import acting, table, verdict


def test_the_page_says_what_the_index_says_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems_table, "READ", {"a": {"changed": "The rate."}, "b": {"same": "Names."}})

    def entry(slug: str, result: dict[str, Any] | None) -> dict[str, Any]:
        return {**next(c for c in catalog.cards() if c["slug"] == "gda"), "slug": slug, "result": result}

    shown = {"shown": True, "stage": "reduced", "of_this_proof": True, "seeds": 5}
    missed = {**shown, "shown": False, "stage": None, "seeds": 3}
    entries = [entry("a", shown), entry("b", missed), entry("c", None), entry("d", {**shown, "of_this_proof": False})]
    for card in entries:
        card["proof"] = {**card["proof"], "not_shown": ""}
    cells = [row.split(" | ")[-1].removesuffix(" |") for row in table(entries).splitlines()[2:]]
    assert cells == [
        "[shown, reduced](../results/a.json); older than a change of the code: The rate.",
        "[not shown, 3 seeds](../results/b.json)",
        "not run",
        "[not run again (the result is of another claim or control)](../results/d.json)",
    ]
    assert [verdict(card) for card in entries] == ["shown", "not shown", "not run", "not run again"]
    assert "| `a` |" in acting(entries)
