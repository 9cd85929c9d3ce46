"""The page of the command line names every verb and every extra."""

from __future__ import annotations

import re
from pathlib import Path

from diptych.cli.added_commands import PROOFS
from diptych.cli.commands import VERBS
from diptych.core.errors import EXTRAS

PAGES = Path(__file__).parents[2] / "docs" / "cli"
TEXT = (PAGES / "index.md").read_text(encoding="utf-8")


def test_every_verb_has_a_row_and_a_page() -> None:
    linked = dict(re.findall(r"^\| \[`([a-z-]+)`\]\(([a-z-]+\.md)\) \|", TEXT, flags=re.MULTILINE))
    assert set(linked) == {*VERBS, *PROOFS}
    assert not [page for page in linked.values() if not (PAGES / page).is_file()]


def test_every_extra_has_a_row() -> None:
    rows = re.findall(r"^\| (`[a-z`, ]+`) \|", TEXT.split("| extra |")[1], flags=re.MULTILINE)
    assert {extra for row in rows for extra in re.findall(r"`([a-z]+)`", row)} == set(EXTRAS)
