"""The lowest versions that pyproject.toml allows, as a constraints file for pip: what ``make test-lowest`` installs.

python tools/lowest.py --write      after a lower bound changed
python tools/lowest.py --check      exit 1 where tools/lowest.txt is not what pyproject.toml says
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("lowest.txt")
_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?>=([0-9][0-9a-zA-Z.]*)")


def pins(project: dict[str, object]) -> str:
    """Return one "name==version" a line, sorted, from all lower bounds; of two for one name the higher counts."""
    table, groups = project["project"], project.get("dependency-groups", {})
    lists = [table["dependencies"], *table.get("optional-dependencies", {}).values(), *groups.values()]  # type: ignore[index,attr-defined]
    lowest: dict[str, str] = {}
    for entry in (e for entries in lists for e in entries if isinstance(e, str)):
        match = _BOUND.match(entry)
        if match is not None:
            name, version = re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]
            lowest[name] = max(
                lowest.get(name, version), version, key=lambda v: [int(n) for n in re.findall(r"\d+", v)]
            )
    return "".join(f"{name}=={version}\n" for name, version in sorted(lowest.items()))


def main(arguments: list[str]) -> int:
    """Write or check the file; return the exit code."""
    if arguments not in (["--write"], ["--check"]):
        sys.stderr.write("usage: python tools/lowest.py --write | --check\n")
        return 2
    text = pins(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    if arguments == ["--write"]:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
        sys.stderr.write("tools/lowest.txt is not what pyproject.toml says: run python tools/lowest.py --write.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
