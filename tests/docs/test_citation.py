"""CITATION.cff names the version that is packaged."""

from __future__ import annotations

from pathlib import Path

import diptych

CITATION = Path(__file__).parents[2] / "CITATION.cff"


def test_the_citation_is_of_this_version() -> None:
    assert f"\nversion: {diptych.__version__}\n" in CITATION.read_text(encoding="utf-8")
