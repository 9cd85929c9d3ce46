from __future__ import annotations

from typing import Any

from diptych import catalog
from tools.systems_table import table


def test_the_page_says_what_the_index_says_of_results() -> None:
    def entry(slug: str, result: dict[str, Any] | None) -> dict[str, Any]:
        return {**next(c for c in catalog.cards() if c["slug"] == "gda"), "slug": slug, "result": result}

    shown = {"shown": True, "stage": "reduced", "seeds": 5}
    rows = table(
        [entry("a", shown), entry("b", {"shown": False, "stage": None, "seeds": 3}), entry("c", None)]
    ).splitlines()[2:]
    cells = [row.split(" | ")[-1].removesuffix(" |") for row in rows]
    assert cells == ["[shown, reduced](../results/a.json)", "[not shown, 3 seeds](../results/b.json)", "not run"]
