"""The design page names what is there: the packages of its tree, the functions of its boundaries, its decisions."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
DECISIONS = ROOT / "docs" / "decisions"


def section(number: int) -> str:
    return re.split(r"^## ", TEXT, flags=re.MULTILINE)[number + 1]


def boundaries() -> list[str]:
    """Return the dotted names of section 8 without comments, ``a.{b, c}`` as two of them."""
    code = re.sub(r"#.*", "", section(8).split("```")[1])
    packages = "|".join(p.stem for p in (ROOT / "src/diptych").iterdir())
    found = re.findall(rf"\b((?:{packages})(?:\.\w+)*)\.(?:(\w+)|\{{([^}}]+)\}})", code)
    return [f"{path}.{name}" for path, one, several in found for name in re.findall(r"\w+", one or several)]


@pytest.mark.parametrize("name", boundaries())
def test_every_boundary_is_there(name: str) -> None:
    assert resolve_name(f"diptych.{name}") is not None


def test_the_boundaries_were_read() -> None:
    assert {"data.images.open_image", "store.store.Store", "metrics.interval.bootstrap_mean", "catalog.slugs"} <= set(
        boundaries()
    )


def test_the_tree_is_that_of_the_package() -> None:
    tree = section(1).split("```")[1].split("recipes/")[0]
    written = {name for line in tree.splitlines()[2:] for name in re.findall(r"^ +((?:[a-z_]+/ ?)+)(?= )", line)}
    top = {part for line in written for part in line.split()} & {f"{p.name}/" for p in (ROOT / "src/diptych").iterdir()}
    packages = {f"{p.parent.name}/" for p in (ROOT / "src/diptych").glob("*/__init__.py")}
    assert top == packages


def test_every_decision_is_in_the_index() -> None:
    linked = re.findall(r"^\| (\S+) \| \[(.+)\]\((\S+)\) \|$", (DECISIONS / "index.md").read_text(), flags=re.MULTILINE)
    pages = sorted(DECISIONS.glob("2*.md"))
    assert [name for _, _, name in linked] == [p.name for p in pages]
    for (date, title, name), page in zip(linked, pages, strict=True):
        assert name.startswith(date)
        assert page.read_text().startswith(f"# {title}\n\n{date}")
