"""Names of files and classes that are no UTF-8: every verb writes them escaped, and ends as with any other name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.colours import COLOURS, coloured

Cli = Callable[..., Any]
ODD = os.fsdecode(b"caf\xe9")
"""A name in Latin-1."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Class folders, one of which, and a photo in which, have such a name."""
    for split in ("train", "test"):
        for name in COLOURS:
            for i in range(3):
                coloured(tmp_path / "photos" / split / name / f"{i}.png", name, i)
        (tmp_path / "photos" / split / "red" / "0.png").rename(tmp_path / "photos" / split / "red" / f"{ODD}.png")
    for i in range(3):
        path = coloured(tmp_path / "photos" / "test" / f"{ODD} red" / f"{i}.png", "red", i)
        (tmp_path / "photos" / "train" / f"{ODD} red").mkdir(exist_ok=True)
        (tmp_path / "photos" / "train" / f"{ODD} red" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "photos"


def written(folder: Path) -> str:
    """All text that was written below a folder, which is UTF-8."""
    kinds = (".json", ".csv", ".html", ".jsonl")
    return "".join(p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*")) if p.suffix in kinds)


@pytest.mark.parametrize(
    "words",
    [
        "classify photos/test --names red,green --out out/x.json",
        "classify photos/test --names red,green --out out/x.csv",
        "classify photos/test --names red,green --out out/x.html",
        "classify photos --out out/x.json",
        "caption photos/test/red --texts words.txt --out out/x.json",
        "detect photos/test/red --normal photos/train/red --method gaussian --out out",
        "encode photos --out out",
        "board classify photos --methods zero-shot,gda --shots 1 --seeds 1 --out out",
        "board few-shot photos --methods gda --shots 1 --seeds 1 --out out",
    ],
)
def test_a_verb_writes_names_that_are_no_utf8(words: str, diptych: Cli, photos: Path) -> None:
    Path("words.txt").write_text("a red thing\na green thing\n")
    for json_flag in ((), ("--json",)):
        got = diptych(*words.split(), *json_flag, *(("--overwrite",) if json_flag else ()))
        assert got.code == 0, got.err
        if json_flag:
            assert got.data
    assert "\\udce9" in written(Path("out")) or words.startswith(("board", "encode"))


def test_json_reads_the_name_back_and_csv_shows_it(diptych: Cli, photos: Path) -> None:
    assert diptych("classify", "photos/test/red", "--names", "red,green", "--out", "x.json").code == 0
    paths = [Path(p["path"]) for p in json.loads(Path("x.json").read_text())["predictions"]]
    assert photos / "test" / "red" / f"{ODD}.png" in [p.absolute() for p in paths]
    assert all(p.exists() for p in paths)
    assert diptych("classify", "photos/test/red", "--names", "red,green", "--out", "x.csv").code == 0
    assert any("caf\\udce9.png" in line for line in Path("x.csv").read_text(encoding="utf-8").splitlines())


def test_an_index_finds_and_forgets_such_a_name(diptych: Cli, photos: Path) -> None:
    assert diptych("index", photos / "test", "--out", "idx").code == 0
    got = diptych("search", "idx", "red", "--html", "x.html", "--json", "--top", "40")
    assert got.code == 0
    names = [row["path"] for row in got.data["results"]]
    assert str(photos / "test" / "red" / f"{ODD}.png") in names
    assert diptych("index", photos / "test", "--out", "idx", "--json").data["unchanged"] == len(names)
    assert diptych("index", "--out", "idx", "--remove", photos / "test" / "red" / f"{ODD}.png").code == 0


def test_links_name_such_records(diptych: Cli, photos: Path) -> None:
    got = diptych("link", "photos/train/red", "photos/test/red", "--json")
    assert got.code == 0, got.err
    assert "caf\\udce9.png" in Path("links.csv").read_text(encoding="utf-8")
