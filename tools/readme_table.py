"""Write the table of systems in README.md from the cards: ``python tools/readme_table.py [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SEEDS = 5
"""What a proof takes; fewer are named, since they prove less."""
START, END = "<!-- systems -->\n", "<!-- /systems -->"


def table(cards: list[dict[str, Any]], results: Path) -> str:
    """Return a Markdown table: system, verb, what it trains, what its proof showed."""
    rows = ["| system | verb | trains | proof |", "|---|---|---|---|"]
    for card in sorted(cards, key=lambda c: (c["verb"], not c["baseline"], c["slug"])):
        kind = " (baseline)" if card["baseline"] else ""
        rows.append(f"| [{card['name']}]({card['url']}){kind} | `{card['verb']}` | {card['trains']} | {proof(card, results)} |")
    return "\n".join(rows) + "\n"


def proof(card: dict[str, Any], results: Path) -> str:
    """Say what the written result says; nothing is claimed without one."""
    path = results / f"{card['slug']}.json"
    if not path.is_file():
        return "not run yet" if card["proof"] else "none planned"
    found = json.loads(path.read_text())
    few = f", {len(found['seeds'])} seeds" if len(found["seeds"]) < SEEDS else ""
    return f"[{'shown, ' + found['stage'] if found['shown'] else 'not shown'}{few}](results/{path.name})"


def main() -> int:
    """Rewrite the table, or say with exit code 1 that it is stale."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split(START)
    cards = json.loads((ROOT / "src/diptych/catalog.json").read_text(encoding="utf-8"))
    new = head + START + table(cards, ROOT / "results") + END + rest.split(END)[1]
    if "--check" in sys.argv:
        return int(new != text)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
