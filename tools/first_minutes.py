"""From a checkout to the first search in a new environment, timed: ``python tools/first_minutes.py [--page FILE]``.

The checkout of the last commit is copied, so that neither bytecode nor files of the working tree are installed. Home
and cache of the commands are empty, and pip's own cache is not read. Each step's seconds of the clock and of the
processor are counted, those of the processes that it starts included; pip's output and progress are left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "first-minutes.md"
START, END = "<!-- first minutes -->\n", "<!-- /first minutes -->"
STEPS = (
    "python3 -m venv .venv",
    ".venv/bin/pip install .",
    ".venv/bin/diptych classify demo:photos --top 1",
    ".venv/bin/diptych classify demo:photos --top 1",
    ".venv/bin/diptych index demo:photos --out my.index",
    '.venv/bin/diptych search my.index "a cat" --top 3',
)
"""What a newcomer types, in this order; the same classification twice, since the first one prepares the encoder."""
QUIET = (".venv/bin/pip", "python3")
"""Commands whose output is not shown."""
PROGRESS = re.compile(r"^[^\n:]+: [\d,]+ of [\d,]+(, \S+/s)?\n", re.MULTILINE)
"""A line in place of a bar, where no terminal shows one."""


@dataclass(frozen=True)
class Step:
    """A command that has run.

    Args:
        command: as it was typed.
        output: stdout and stderr as they came, paths from the folder on; "" where it is left out.
        wall: seconds of the clock.
        processor: seconds of all cores, added up.
        load: mean number of processes that wanted a core in the minute before.
    """

    command: str
    output: str
    wall: float
    processor: float
    load: float


def ran(command: str, folder: Path, environment: Mapping[str, str]) -> Step:
    """Run a command in a folder.

    Raises:
        CalledProcessError: it fails; its output has been written to stderr.
    """
    load, before, start = os.getloadavg()[0], _children(), time.perf_counter()
    words = shlex.split(command)
    if words[0] == ".venv/bin/pip":
        words[2:2] = ["--quiet", "--no-cache-dir"]
    done = subprocess.run(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    wall = time.perf_counter() - start
    if done.returncode:
        sys.stderr.write(done.stdout)
        done.check_returncode()
    output = "" if words[0] in QUIET else PROGRESS.sub("", done.stdout).replace(f"{folder}/", "").rstrip()
    return Step(command, output, wall, _children() - before, load)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def machine() -> str:
    """Return what this machine is: cores, their kind, system and Python."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        names = []
    kind = names[0] if names else platform.processor() or platform.machine()
    cores = os.cpu_count() or 1
    return f"{cores} core{'s' * (cores > 1)} of {kind}, {platform.system()}, Python {platform.python_version()}"


def section(steps: Sequence[Step], about: str, size: float) -> str:
    """Return the Markdown of a run.

    Args:
        steps: in the order in which they ran.
        about: date and machine, a sentence.
        size: bytes of the environment.
    """
    lines = [f"{about} The environment takes {size / 1e9:.1f} GB.", ""]
    lines += ["| step | seconds | processor seconds |", "|---|---:|---:|"]
    lines += [f"| `{step.command}` | {step.wall:.1f} | {step.processor:.1f} |" for step in steps]
    wall, processor = sum(step.wall for step in steps), sum(step.processor for step in steps)
    lines += [f"| all | {wall:.1f} | {processor:.1f} |", "", "```console"]
    for step in steps:
        lines += [f"$ {step.command}", *([step.output] if step.output else [])]
    return "\n".join([*lines, "```", ""])


def put(page: str, text: str) -> str:
    """Return a page with its section replaced; raises ValueError where it has none."""
    head, start, rest = page.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end:
        raise ValueError(f"the page has no {START.strip()} ... {END}")
    return f"{head}{start}\n{text}\n{end}{tail}"


def size_of(folder: Path) -> int:
    """Return the bytes of the files of a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink() and path.is_file())


def measured() -> str:
    """Run all steps in a temporary folder, and return the section."""
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as name:
        folder, home = Path(name) / "diptych", Path(name) / "home"
        folder.mkdir()
        home.mkdir()
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "DIPTYCH_", "OMP_"))}
        bare.pop("XDG_CACHE_HOME", None)
        environment = {**bare, "HOME": str(home), "HF_HUB_OFFLINE": "1"}
        steps = []
        for command in STEPS:
            steps.append(ran(command, folder, environment))
            sys.stderr.write(f"{steps[-1].wall:.1f} s: {command}\n")
        loads = [step.load for step in steps]
        about = (
            f"{time.strftime('%Y-%m-%d')}, {machine()}, load {min(loads):.1f} to {max(loads):.1f} before the steps. "
            "Above the number of cores other processes have a part of the time: processor seconds are then the ones to "
            "read."
        )
        return section(steps, about, size_of(folder / ".venv"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE)
    page = parser.parse_args(arguments).page
    text = page.read_text(encoding="utf-8")
    put(text, "")  # refuses a page without the section before minutes are spent
    page.write_text(put(text, measured()), encoding="utf-8")


if __name__ == "__main__":
    main()
