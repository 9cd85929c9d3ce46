"""The page of checkpoints is what its script writes; the script itself compares every vector with the library that
wrote the files.
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")  # of the libraries that write the files
def test_the_page_is_fresh(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)  # back to it afterwards
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):  # the script sets them
        monkeypatch.setenv(name, "1")
    main = runpy.run_path(str(ROOT / "docs" / "checkpoints.py"))["main"]
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_every_format_is_loaded_and_the_dangerous_ones_are_refused_first() -> None:
    sections = {part.split("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
    assert len(sections) == 16
    for title, text in sections.items():
        assert "\nscore: s" in text, title
        assert not re.search(r"[0-9a-f]{32}", text)
        assert "/tmp" not in text
    for title in ("bare weight file", "TorchScript archive"):
        assert sections[title].index("UsageError: ") < sections[title].index("\nscore: ")
    assert sum("vectors equal" in text for text in sections.values()) == 12
