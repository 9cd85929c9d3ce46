"""A worked example of ``diptych segment`` shows a map of at least two names, or its page says that it is a failure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```console\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
PHOTO = re.compile(r"^\S+\.(?:jpg|png)  +(.*%.*)$", flags=re.MULTILINE)
SHARE = re.compile(r"(<?\d+)%")


def lacking(text: str) -> list[str]:
    """Return the commands of a page that show one name over the whole of each photo and do not say that they fail."""
    commands = []
    for block in BLOCK.finditer(text):
        photos = PHOTO.findall(block[1])
        if "diptych segment" not in block[1] or not photos:
            continue
        shares = [
            [share for share in SHARE.findall(line) if not share.startswith("<") and int(share)] for line in photos
        ]
        said = text[block.end() :].partition("```")[0]
        if max(map(len, shares)) < 2 and "failure" not in said:
            commands.append(block[1].partition("\n")[0])
    return commands


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_a_map_has_two_names_or_the_page_says_that_it_fails(page: Path) -> None:
    assert lacking(page.read_text(encoding="utf-8")) == []


def test_one_name_over_each_photo_is_seen() -> None:
    page = '```console\n$ diptych segment a.jpg --names "cat, sky"\na.jpg  cat 100%  sky <1%\n```\n\nIt {}.\n'
    assert lacking(page.format("works")) == ['$ diptych segment a.jpg --names "cat, sky"']
    assert lacking(page.format("is a failure: the sky is missed")) == []
    assert lacking(page.replace("cat 100%  sky <1%", "cat 60%  sky 40%").format("works")) == []
    assert len([p for p in DOCS.rglob("*.md") if PHOTO.search(p.read_text(encoding="utf-8"))]) > 3, "pages have photos"
