"""Write docs/systems.md, the table of systems, from the built index: ``python tools/systems_table.py [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from diptych.catalog import reached

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "systems.md"
HEAD = """# Systems

Each is one file that a person reads beside the paper. A proof is *shown* when its claims hold and its controls fail, on
every data set and over the seeds that the card asks for; *reduced* is a part of the paper's claim, *mechanism* is shown
on generated scenes only. [Add your own](add-your-own-system.md).

"""


def table(cards: list[dict[str, Any]]) -> str:
    """Return a Markdown table: system, verb, what it trains, what its proof reached."""
    rows = ["| system | verb | trains | proof |", "|---|---|---|---|"]
    for card in sorted(cards, key=lambda c: (c["verb"], not c["baseline"], c["slug"])):
        kind = " (baseline)" if card["baseline"] else ""
        rows.append(f"| [{card['name']}]({card['url']}){kind} | `{card['verb']}` | {card['trains']} | {proof(card)} |")
    return "\n".join(rows) + "\n"


def proof(card: dict[str, Any]) -> str:
    """Say what the index says of the written result, and link it."""
    return f"[{reached(card)}](../results/{card['slug']}.json)" if card["result"] else reached(card)


def main() -> int:
    """Write the page, or say with exit code 1 that it is stale."""
    cards = json.loads((ROOT / "src/diptych/catalog.json").read_text(encoding="utf-8"))
    text = HEAD + table(cards)
    if "--check" in sys.argv:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
        if stale:
            sys.stderr.write("docs/systems.md is not what the index says: run python tools/systems_table.py.\n")
        return int(stale)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
