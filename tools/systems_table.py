"""Write docs/systems.md, the table of systems, from the cards: ``python tools/systems_table.py [--check]``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.backbones.released import slugs
from diptych.backbones.released import table as table_of

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "systems.md"
READ = tomllib.loads((ROOT / "results" / "code.toml").read_text(encoding="utf-8"))["read"]
"""Result -> how the code of its system differs from what was measured."""
HEAD = """# Systems

{acting}
The code of each is one file, to be read beside the paper. A proof is *shown* when its claims hold and its controls
fail, on every data set and over the seeds that the card asks for; *reduced* is a part of the paper's claim,
*mechanism* is shown on generated scenes only. Where it is *not shown*, the words in brackets are the reason that we
see ([verdicts and evidence](not-shown.md)): the backbone, the protocol of the proof, the paper, or
unknown. *Not run again*: the result that is committed is of an earlier claim or control, which the card no longer has.
*Released weights* are files of the authors that `diptych systems SLUG --weights FILE` makes a folder, and why others
are not read ([how](cli/systems.md#weights-that-authors-released)).
[Add your own](add-your-own-system.md).

"""


DOES = {
    "classify": "classify photos, from class names, texts or a few labels",
    "segment": "segment photos by class names",
    "detect": "detect anomalies",
    "caption": "caption photos",
    "retrieve": "link records of two tables",
    "finetune": "fine-tune a backbone on your data",
    "pretrain": "train a backbone on captioned photos",
    "extend": "classify videos, point clouds or light curves",
    "curate": "filter training pairs",
    "audit": "find where a model or a caption is wrong",
    "edit": "edit a picture by text",
    "rewrite": "write longer prompts",
}
"""Verb -> what a person wants of it."""
PAGES = {"retrieve": "link"}


def verdict(card: dict[str, Any]) -> str:
    """Say in a word or three what the written result says of the proof that the card has."""
    result = card["result"]
    if result is None:
        return "not run"
    if not result["of_this_proof"]:
        return "not run again"
    return "shown" if result["shown"] else "not shown"


def acting(cards: list[dict[str, Any]]) -> str:
    """Return a line for each verb: what it is for, how many systems it has, and which of them are shown."""
    rows = ["| you want to | page | systems | proof shown |", "|---|---|--:|---|"]
    for verb in [v for v in DOES if any(c["verb"] == v for c in cards)]:
        cards_of = [c for c in cards if c["verb"] == verb]
        shown = ", ".join(f"`{c['slug']}`" for c in cards_of if verdict(c) == "shown") or "none yet"
        page = PAGES.get(verb, verb)
        rows.append(f"| {DOES[verb]} | [`{page}`](cli/{page}.md) | {len(cards_of)} | {shown} |")
    return "\n".join(rows) + "\n"


def table(cards: list[dict[str, Any]]) -> str:
    """Return a Markdown table: system, verb, what it trains, released weights, what its proof reached."""
    rows = ["| system | verb | trains | released weights | proof |", "|---|---|---|---|---|"]
    for card in sorted(cards, key=lambda c: (c["verb"], not c["baseline"], c["slug"])):
        kind = " (baseline)" if card["baseline"] else ""
        cells = (
            f"[{card['name']}]({card['url']}){kind}",
            f"`{card['verb']}`",
            card["trains"],
            weights(card),
            proof(card),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def weights(card: dict[str, Any]) -> str:
    """Say which files of the authors are read, by the names that ``--released`` takes, and which are not."""
    if card["slug"] not in slugs():
        return card["released"] or "-"
    files = table_of(card["slug"]).file
    read = ", ".join(f"`{one.name}`" for one in files if not one.unread)
    unread = "; ".join(f"{one.name} is not read: {one.unread}" for one in files if one.unread)
    return "; ".join(part for part in (read, unread) if part)


def proof(card: dict[str, Any]) -> str:
    """Say what the card says of the written result, and of those of rows, and link them."""

    def linked(plan: Any, result: Any, name: str) -> str:
        words = catalog.reached({"proof": plan, "result": result}, reason=True)
        changed = READ.get(name, {}).get("changed", "")
        older = f"; older than a change of the code: {changed}" if changed else ""
        return f"[{words}](../results/{name.replace(':', '-')}.json){older}" if result else words

    slug, results = card["slug"], card["row_results"]
    rows = [f"`{row}`: {linked(plan, results[row], f'{slug}:{row}')}" for row, plan in card["row_proofs"].items()]
    return "; ".join([linked(card["proof"], card["result"], slug), *rows])


def main() -> int:
    """Write the page, or say with exit code 1 that it is stale."""
    cards = catalog.cards()
    text = HEAD.format(acting=acting(cards)) + table(cards)
    if "--check" in sys.argv:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
        if stale:
            sys.stderr.write("docs/systems.md is not what the cards say: run python tools/systems_table.py.\n")
        return int(stale)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
