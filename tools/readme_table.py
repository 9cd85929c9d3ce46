"""Write the table of systems in README.md from the built index: ``python tools/readme_table.py [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from diptych.catalog import reached

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- systems -->\n", "<!-- /systems -->"


def table(cards: list[dict[str, Any]]) -> str:
    """Return a Markdown table: system, verb, what it trains, what its proof reached."""
    rows = ["| system | verb | trains | proof |", "|---|---|---|---|"]
    for card in sorted(cards, key=lambda c: (c["verb"], not c["baseline"], c["slug"])):
        kind = " (baseline)" if card["baseline"] else ""
        rows.append(f"| [{card['name']}]({card['url']}){kind} | `{card['verb']}` | {card['trains']} | {proof(card)} |")
    return "\n".join(rows) + "\n"


def proof(card: dict[str, Any]) -> str:
    """Say what the index says of the written result, and link it."""
    return f"[{reached(card)}](results/{card['slug']}.json)" if card["result"] else reached(card)


def main() -> int:
    """Rewrite the table, or say with exit code 1 that it is stale."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split(START)
    cards = json.loads((ROOT / "src/diptych/catalog.json").read_text(encoding="utf-8"))
    new = head + START + table(cards) + END + rest.split(END)[1]
    if "--check" in sys.argv:
        if new != text:
            sys.stderr.write("The table of systems in README.md is not what the index says: run python tools/readme_table.py.\n")
        return int(new != text)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
