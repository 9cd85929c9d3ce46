"""The page of checkpoints is what its script writes; the script itself compares every vector with the library that
wrote the files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")


def test_the_page_is_fresh() -> None:
    words = [sys.executable, str(ROOT / "docs" / "checkpoints.py"), "--check"]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    assert done.returncode == 0, done.stderr[-2000:]


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
