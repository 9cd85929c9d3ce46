"""The generated pages of the site: each system has its card, formula, use, result, example and citation."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from diptych import catalog
from tools import site


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return site.pages()


@pytest.mark.parametrize("card", catalog.cards(), ids=lambda card: card["slug"])
def test_a_system_has_every_part(card: dict[str, Any], pages: dict[str, str]) -> None:
    page = pages[f"systems/{card['slug']}.md"]
    parts = ["## When to use it", "## The maths", "## In Python, with an example", "## Cite"]
    parts += ["## What we measured"] if card["proof"] else []
    parts += ["## Where it differs from paper or released code"] if card["differs"] else []
    missing = [part for part in parts if f"\n{part}\n" not in page]
    assert not missing


def test_pictures_of_the_gallery_stand_on_the_pages_of_their_systems(pages: dict[str, str]) -> None:
    shown = {name for name, page in pages.items() if name.startswith("systems/") and "\n## Pictures\n" in page}
    generation = ("clip-reward", "user-aware-prefix", "clipinverter", "mosaic", "cut-and-paste", "galip", "diva")
    slugs = (*generation, "uf-fgtg", "deltaedit", "maskclip", "fc-clip", "tip-adapter-f", "nearest-caption")
    assert {f"systems/{slug}.md" for slug in slugs} <= shown
    page = pages["systems/uf-fgtg.md"].partition("## Pictures")[2].partition("## The maths")[0]
    (figure,) = re.findall(r"\]\(\.\./(.+?)\)", page)
    assert (Path(site.ROOT) / "docs" / figure).is_file()
    assert "galip" not in page


@pytest.mark.parametrize("card", catalog.cards(), ids=lambda card: card["slug"])
def test_its_command_parses(card: dict[str, Any]) -> None:
    from typer.main import get_command

    from diptych.cli.main import app

    words, found = shlex.split(site.command(card))[1:], get_command(app)
    name = ""
    while hasattr(found, "get_command") and words and (inner := found.get_command(None, words[0])) is not None:  # type: ignore[arg-type]
        name, found = words.pop(0), inner
    assert name
    found.make_context(name, words, resilient_parsing=False)


GIVEN = {
    "segment train": "--train",
    "segment auxiliary": "--captioned",
    "segment unlabelled": "--unlabelled",
    "caption train": "--like",
    "caption texts": "--texts",
    "detect train": "--normal",
    "detect auxiliary": "--auxiliary",
    "edit train": "--like",
    "rewrite train": "--like",
    "classify texts": "--texts",
}
"""Verb and evidence -> the flag that gives it."""


@pytest.mark.parametrize("card", catalog.cards(), ids=lambda card: card["slug"])
def test_its_command_runs_it_and_gives_what_it_needs(card: dict[str, Any]) -> None:
    words = shlex.split(site.command(card))
    asked = [GIVEN.get(f"{card['verb']} {e}", "") for e in card["needs"]["evidence"]]
    assert set(filter(None, asked)) <= set(words)
    audits = card["verb"] == "audit" or card["slug"] in ("frame-mean", "clip2point", "astrom3")
    assert audits or card["slug"] in " ".join(words)


def test_values_have_their_interval(pages: dict[str, str]) -> None:
    assert " to " in pages["systems/gda.md"].split("## What we measured")[1].split("## The maths")[0]


def test_a_page_names_the_claims_and_controls_that_failed_beside_our_judgement() -> None:
    plan = {"claim": "It gains.", "control": "Shuffled it does not.", "not_shown": "protocol: two photos"}
    card = {"slug": "own", "proof": plan, "result": {"shown": False, "of_this_proof": True}}
    gain = {"over": "zero-shot", "shots": 4, "gain": 0.02, "gain_lower95": -0.01}
    data = {
        "dataset": "cats",
        "claims": [{**gain, "shown": False}, {**gain, "shots": 16, "shown": True}],
        "controls": [{**gain, "name": "swapped", "what": "iou", "gain_lower95": 0.01, "failed": False}],
    }
    result = {"shown": False, "claim": "It gained.", "control": "It did not.", "datasets": [data]}
    assert site._decided(card, result) == [
        "**Not shown** here:",
        "",
        "- cats: the claim over zero-shot at 4 shots is not shown (gain +2.0, bound -1.0).",
        "- cats: the control (swapped) beats zero-shot at 4 shots, iou (gain +2.0, bound +1.0).",
        "",
        "In our judgement the protocol is the reason: two photos.",
        "",
    ]
    unknown = {**card, "proof": {**plan, "not_shown": "unknown"}}
    assert "We do not know why." in site._decided(unknown, result)
    earlier = "\n".join(site._decided({**card, "result": {"shown": True, "of_this_proof": False}}, result))
    assert "**Not run again**" in earlier
    assert "It gained." in earlier
    assert "two photos" not in earlier


def test_notebooks_become_pages(pages: dict[str, str]) -> None:
    made = {path.stem for path in (site.ROOT / "docs" / "notebooks").glob("*.ipynb")}
    assert {Path(path).stem for path in pages if path.startswith("notebooks/")} == made
    for name in made:
        assert "data:image/" in pages[f"notebooks/{name}.md"]


def test_links_that_leave_the_docs_go_to_the_repository() -> None:
    assert site.linked("[a](../../results/gda.json)", "tutorials/a.md") == f"[a]({site.REPOSITORY}results/gda.json)"
    assert site.linked("[a](../cli/index.md)", "tutorials/a.md") == "[a](../cli/index.md)"


def test_style_sheets_are_there_and_keep_wide_things_inside_the_page() -> None:
    settings = (site.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^extra_css: \[(.+)\]$", settings, flags=re.MULTILINE)
    rules = "".join((site.ROOT / "docs" / name).read_text(encoding="utf-8") for name in listed.split(", "))
    blocks = dict(re.findall(r"([^{}]+)\{([^{}]+)\}", re.sub(r"/\*.*?\*/", "", rules, flags=re.DOTALL)))
    wide = {part.strip(): body for head, body in blocks.items() for part in head.split(",")}
    assert "overflow-x: auto" in wide[".md-typeset table:not([class])"]
    assert "white-space: pre-wrap" in wide[".md-typeset .doc-signature pre > code"]


def test_a_page_asks_no_other_host_for_facts_of_the_repository() -> None:
    link = '<a href="repository" class="md-source" data-md-component="source">diptych</a>'
    page: Any = None
    assert site.on_post_page(link, page, page) == '<a href="repository" class="md-source">diptych</a>'
