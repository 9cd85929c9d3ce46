"""What pages that are written from the boards in results/boards share: reading, marking, linking, and --check."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BOARDS, DOCS = ROOT / "results" / "boards", ROOT / "docs"
LEVEL = 0.05
"""Error rate of the tests."""


def boards(folder: Path, verb: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield file name and content of the boards of a verb, in the order of their file names."""
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem):
        board = json.loads(path.read_text(encoding="utf-8"))
        if board.get("kind") == "board" and board.get("verb", "classify") == verb:
            yield path.name, board


def marked(text: str, change: int) -> str:
    """Return a number in bold where it is better than what it is compared with, in italics where it is worse."""
    return {1: "**{}**", 0: "{}", -1: "*{}*"}[change].format(text)


def link(name: str, board: str) -> str:
    """Return the name of a data set as a link to its board."""
    return f"[{name}](../results/boards/{board})"


def write_or_check(files: Mapping[Path, str], words: Sequence[str], tool: str) -> int:
    """Write files, or with --check say whether they are what the boards say; return the exit code."""
    if "--check" in words:
        stale = [path for path, new in files.items() if not path.exists() or path.read_text(encoding="utf-8") != new]
        if stale:
            sys.stderr.write(f"{stale[0].name} is not what results/boards says: run python tools/{tool}.\n")
        return int(bool(stale))
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return 0
