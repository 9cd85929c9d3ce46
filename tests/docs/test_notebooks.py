"""Every notebook runs as it stands and says what it holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.notebooks import executed, said

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def test_there_are_four() -> None:
    assert len(NOTEBOOKS) == 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_it_holds(path: Path, tmp_path: Path, cache: Path) -> None:
    if path.stem == "serve":
        pytest.importorskip("fastapi", reason="the notebook of the server needs the extra serve")
    held = json.loads(path.read_text(encoding="utf-8"))
    now = executed(held, tmp_path.resolve(), cache)
    assert said(now) == said(held), f"run python docs/transcripts.py --notebooks {path.stem}, and look at what changed"
    assert [c["source"] for c in now["cells"]] == [c["source"] for c in held["cells"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_shows_pictures_and_uses_public_names(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert "data:image/" in text
    assert set(re.findall(r"(?:from|import) (diptych[\w.]*)", text)) <= {"diptych"}
