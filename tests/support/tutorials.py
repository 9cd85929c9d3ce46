"""Run the blocks of a tutorial in order, in one folder, as a reader does.

Each block of ``console`` holds commands (``$ diptych ...``) and below each what it prints. All blocks of ``python`` on
a page share their names; what one prints stands in a block of ``text`` right below it.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.testing import CliRunner

from diptych.backbones.sources.load import load

BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", flags=re.MULTILINE | re.DOTALL)
MACHINE = re.compile(
    r"(image|text) encoder: .*|.* images? in .* images?/s.*|.*: all (images )?from the cache.*"
    r"|[a-z][a-z0-9 ,.-]*: [\d,]+( of [\d,]+)?(, [\d.,e+]+/s)?"
)
"""Lines about this machine and this run: they differ on a reader's."""
_LOADED: dict[str, Any] = {}
SECONDS = re.compile(r"\b\d+\.\d\+\d+\.\d\b|\b\d+(\.\d+)? s\b")


@contextlib.contextmanager
def at_home(folder: Path, cache: Path) -> Iterator[None]:
    """Work in a folder, offline, with a cache of its own, in torch.

    Preparing a faster engine takes longer than a page.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("DIPTYCH_")}
    env |= {"DIPTYCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "COLUMNS": "100", "NO_COLOR": "1"}
    engine = patch("diptych.backbones.engines.engine.Engines.runner", lambda self, encoder, run: None)
    loading = patch("diptych.backbones.sources.load.load", loaded_once)
    with patch.dict(os.environ, env, clear=True), contextlib.chdir(folder), engine, loading:
        yield


def loaded_once(name: str = "lite", **more: Any) -> Any:
    """Load a backbone; of one that ships, return a copy of the first, since half of a page's time is loading."""
    if name not in {"lite", "tiny"}:
        return load(name, **more)
    key = f"{name} {more!r}"
    if key not in _LOADED:
        _LOADED[key] = load(name, **more)
    return copy.deepcopy(_LOADED[key])


def ran(text: str, folder: Path, cache: Path) -> str:
    """Return a page with what its blocks print now.

    Args:
        text: the page.
        folder: where it runs; empty.
        cache: folder of embeddings; pages may share it.

    Raises:
        AssertionError: a command fails, or a block of console holds something else than commands.
    """
    names: dict[str, Any] = {}

    def again(block: re.Match[str]) -> str:
        if block[1] == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block[2], "tutorial", "exec"), names)
            printed = _plain(out.getvalue(), folder)
            return f"```python\n{block[2]}```" + (f"\n\n```text\n{printed}```" if printed else "")
        commands = [line for line in block[2].splitlines() if line.startswith("$ ")]
        assert commands, block[2]
        return "```console\n" + "".join(f"{c}\n{_plain(_printed(c), folder)}" for c in commands) + "```"

    with at_home(folder, cache):
        return BLOCK.sub(again, text)


def same(a: str, b: str) -> bool:
    """Return whether two pages agree in all but the seconds that something took."""
    return SECONDS.sub("", a).split() == SECONDS.sub("", b).split()


def _printed(line: str) -> str:
    """Return what a command prints, on stdout and then on stderr."""
    from diptych.cli.main import app

    program, *words = shlex.split(line.removeprefix("$ "))
    assert program == "diptych", f"a tutorial runs diptych alone: {line}"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return done.stdout + done.stderr


def _plain(printed: str, folder: Path) -> str:
    """Return output without lines about the machine, empty lines at both ends, and the folder's own path."""
    lines = [line.rstrip() for line in printed.splitlines() if not MACHINE.fullmatch(line.strip())]
    shown = "\n".join(lines).strip("\n").replace(f"{folder}/", "")
    return f"{shown}\n" if shown.strip() else ""
