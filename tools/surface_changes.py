"""Say what users saw in one version and no longer see in another, and what is new: flags, arguments, keys, routes.

    python tools/surface_changes.py REVISION         # its tests/surface beside that of the working tree

The files are those that ``tools/surface.py`` writes. A line that begins with "gone" stands in docs/decisions, with its
reason; the exit code is 1 where there is one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "tests" / "surface"
FILES = ("help.txt", "signatures.txt", "answers.json", "openapi.json")
Parts = dict[str, set[str]]
"""What has parts, such as a command -> their names, such as flags."""


def commands(text: str) -> Parts:
    """Return command -> flags, of help pages below each other."""
    _, *pages = re.split(r"(?m)^\$ (diptych.*?) ?--help$", text)
    return {
        f"command {name.strip()}": set(re.findall(r"(?m)^[│ *]*(--[a-z0-9-]+)", page))
        for name, page in zip(pages[::2], pages[1::2], strict=True)
    }


def functions(text: str) -> Parts:
    """Return public name -> arguments, of lines of signatures."""
    changes = {}
    for line in text.split("\n"):
        name, _, arguments = line.strip().partition("(")
        if name:
            changes[f"name {name}"] = set(re.findall(r"(?:^|, )\*{0,2}(\w+)(?=[:=,)])", arguments))
    return changes


def answers(text: str) -> Parts:
    """Return command -> exit code and keys of its JSON."""
    return {f"answer of {name}": _paths(row) for name, row in json.loads(text).items()}


def interface(text: str) -> Parts:
    """Return schema -> fields, and the routes, of an OpenAPI description."""
    data = json.loads(text)
    schemas = {f"schema {k}": set(v.get("properties", ())) for k, v in data["components"]["schemas"].items()}
    return {"routes": set(data["paths"]), **schemas}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return lines on what is gone and on what is new.

    Args:
        before: name of each of ``FILES`` -> text.
        after: the same of the later version.
    """
    gone, new = [], []
    for name, read in zip(FILES, (commands, functions, answers, interface), strict=True):
        old, now = read(before[name]), read(after[name])
        gone += [f"gone: {whole}" for whole in sorted(set(old) - set(now))]
        new += [f"new: {whole}" for whole in sorted(set(now) - set(old))]
        for whole in sorted(set(old) & set(now)):
            if parts := sorted(old[whole] - now[whole]):
                gone.append(f"gone: {whole}: {', '.join(parts)}")
            if parts := sorted(now[whole] - old[whole]):
                new.append(f"new: {whole}: {', '.join(parts)}")
    return gone, new


def _paths(data: Any, start: str = "") -> set[str]:
    if isinstance(data, dict):
        return {start, *(path for key, value in data.items() for path in _paths(value, f"{start}.{key}"))} - {""}
    if isinstance(data, list):
        return {path for value in data for path in _paths(value, f"{start}[]")}
    return {f"{start} {data}"} if start == ".exit" else {start}


def main(words: list[str]) -> int:
    """Print the changes since a revision."""
    (revision,) = words
    show = ("git", "-C", str(FOLDER), "show")
    before = {
        name: subprocess.run([*show, f"{revision}:./{name}"], check=True, capture_output=True, text=True).stdout
        for name in FILES
    }
    gone, new = changes(before, {name: (FOLDER / name).read_text() for name in FILES})
    print(*gone, *new, sep="\n")  # noqa: T201
    return int(bool(gone))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
