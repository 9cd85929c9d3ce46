"""Run the commands of the pages again and put what they print below them: ``python docs/transcripts.py [PAGE ...]``.

A block that follows the line ``<!-- run -->`` is a transcript: its first line is the command. It runs in a temporary folder with a cache
of its own, offline, without a shell.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "diptych"
BLOCK = re.compile(r"<!-- run -->\n```console\n\$ (.*?)\n.*?```", flags=re.DOTALL)


def transcript(command: str, folder: str) -> str:
    """Return the block of one command: what stands on stdout, then on stderr."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("DIPTYCH_")}
    given |= {"COLUMNS": "110", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "DIPTYCH_CACHE": f"{folder}/cache"}
    words = [sys.executable, "-m", "diptych.cli", *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=given, check=False)
    lines = [line.rstrip() for part in (done.stdout, done.stderr) for line in part.strip("\n").splitlines()]
    shown = "\n".join(lines).replace(f"{folder}/cache", "~/.cache/diptych").replace(f"{PACKAGE}/", "diptych/")
    return f"<!-- run -->\n```console\n$ {command}\n{shown}\n```"


def main(pages: list[str]) -> None:
    """Write the pages; all without names."""
    here = Path(__file__).parent / "cli"
    found = [here / f"{name}.md" for name in pages] or sorted(here.glob("*.md"))
    with tempfile.TemporaryDirectory() as folder:
        for page in found:
            text = page.read_text(encoding="utf-8")
            page.write_text(BLOCK.sub(lambda m: transcript(m[1], folder), text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
