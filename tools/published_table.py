"""Write docs/published.md, the authors' configurations, by the cards: ``python tools/published_table.py [--check]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from diptych import catalog

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "published.md"
HEAD = """# Published configurations

Run a system as its authors did. `--set published` takes the authors' settings in place of ours, which are for minutes
on a processor; further `--set NAME=VALUE` are laid over them. The flags of `finetune` and `pretrain` are typed as they
stand here. On boards it is `--set SLUG.published=true`.

Before a long training, `--dry-run` takes three steps at full size, prints time and memory, writes nothing and ends:

```
$ diptych segment photos/ --names "sky, grass, sheep" -m fc-clip --train labelled/ --set published --dry-run
```

What the authors did and nothing here does stands under *not here*. Numbers are those of the authors; none of these
trainings was run here at full length. A number that was not found is not given.

| system | trains from | number in the paper |
|---|---|---|
"""
VERBS = {"finetune": "diptych finetune DATA -m {slug}", "pretrain": "diptych pretrain TABLE -m {slug}"}
FACES = {
    "segment": "diptych segment PHOTOS -m {slug} --set published",
    "classify": "diptych board classify DATA --methods {slug} --set {slug}.published=true",
    "detect": "diptych detect PHOTOS -m {slug} --set published",
    "caption": "diptych caption PHOTOS -m {slug} --set published",
    "edit": "diptych edit PHOTOS -m {slug} --set published",
    "rewrite": "diptych rewrite PROMPTS -m {slug} --set published",
    "retrieve": "diptych link A B -m {slug} --set published",
    "extend": "diptych board extend DATA --methods {slug} --set {slug}.published=true",
}


def page() -> str:
    """Return the page."""
    cards = sorted((c for c in catalog.cards() if c["published"]), key=lambda c: (c["verb"], c["slug"]))
    rows = [f"| [{c['name']}](#{c['slug']}) | {c['published']['weights']} | {_number(c)} |" for c in cards]
    without = [c for c in catalog.cards() if _trains(c) and not c["published"] and not c["baseline"]]
    names = ", ".join(c["name"] for c in sorted(without, key=lambda c: c["slug"]))
    end = f"\n## Not found\n\nOf {names} no configuration was found that could be read.\n" if without else ""
    return HEAD + "\n".join(rows) + "\n" + "".join(map(_section, cards)) + end


def _trains(card: dict[str, Any]) -> bool:
    return card["trains"] != "nothing" and card["verb"] not in ("audit", "curate")


def _number(card: dict[str, Any]) -> str:
    if not card["headlines"]:
        return "not found"
    first = card["headlines"][0]
    return f"{first['metric']} {first['value']:g} on {first['dataset']}, {first['backbone']}"


def _section(card: dict[str, Any]) -> str:
    published, slug = card["published"], card["slug"]
    lines = [f"\n### {card['name']} {{#{slug}}}\n", f"`{_command(card)}`\n"]
    lines.append(f"- starts from: {published['weights']}")
    lines.append(f"- data: {published['data']}")
    for name, value in (("settings", _pairs(published["settings"], "=")), ("hardware", published["hardware"])):
        if value:
            lines.append(f"- {name}: {value}")
    lines += [f"- not here: {line}" for line in published["absent"]]
    lines.append(f"- read in: {published['where']}")
    return "\n".join(lines) + "\n"


def _command(card: dict[str, Any]) -> str:
    published, slug, verb = card["published"], card["slug"], card["verb"]
    if verb not in VERBS:
        return FACES[verb].format(slug=slug)
    given = " --set published" if published["settings"] else ""
    flags = "".join(f" --{name} {_plain(value)}" for name, value in published["training"].items())
    return VERBS[verb].format(slug=slug) + given + flags


def _pairs(settings: dict[str, Any], between: str) -> str:
    return ", ".join(f"`{name}{between}{_plain(value)}`" for name, value in settings.items())


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(_plain, value)) if isinstance(value, (list, tuple)) else str(value)


def main() -> None:
    """Write the page, or check that it is as the cards say."""
    text = page()
    if "--check" in sys.argv:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit(f"{PAGE.relative_to(ROOT)} is not as the cards say: run python tools/published_table.py.")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
