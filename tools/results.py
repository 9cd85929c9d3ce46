"""Run committed results again and compare: ``python tools/results.py [NAME ...]``, or ``make results ONLY="gda coop"``.

Each file of ``results/`` names its command, which is run with the data, seeds, engine and threads that the file says.
What comes out lies in ``out/results`` under the same name, and is not run again while it lies there: an interrupted
call goes on where it stopped. ``--over`` writes it over the committed file. Exit code 5: a number differs, 1: a command
failed.
``results/bench`` holds speeds, which no second run repeats: ``make bench`` measures them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from diptych.backbones.engines.engine import kind_of

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-6
"""Largest difference that counts as the same: other thread counts may change the last bits."""
VARYING = {
    "seconds",
    "fit_seconds",
    "train_seconds",
    "cpu_seconds",
    "cpu_seconds_a_photo",
    "images_a_second",
    "peak_memory_mib",
    "encode",
    "threads",
    "minutes",
}
"""What no second run repeats."""
TWO_WAY = "2026-12-02"
"""Results that are older hold two-sided intervals and p-values of crossed bootstraps, which nothing computes any more:
docs/decisions/2026-12-01-intervals.md. The bound of a proof is still that of its file."""
ENDS = {"ci95", "p", "p_holm"}


def chosen(results: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return name -> the written result: all proofs and boards, or those of some names.

    Boards of trainings that ended after seconds are left out unless they are named: no second run repeats them.

    Raises:
        SystemExit: there is no such result.
    """
    paths = {str(p.relative_to(results).with_suffix("")): p for p in sorted(results.rglob("*.json"))}
    if unknown := [name for name in names if name not in paths]:
        raise SystemExit(f"There is no result {unknown[0]!r}: choose from {', '.join(paths)}.")
    picked = names or [name for name in paths if not name.startswith("bench/")]
    written = {name: json.loads(paths[name].read_text(encoding="utf-8")) for name in picked}
    return written if names else {name: data for name, data in written.items() if not timed(data)}


def timed(written: Mapping[str, Any]) -> bool:
    """Return whether some trainings of a board ended after seconds."""
    lengths = written.get("lengths") or {"": written.get("fit") or {}}
    return any(fit.get("seconds") is not None for fit in lengths.values())


def command(written: Mapping[str, Any], out: Path) -> list[str]:
    """Return what repeats a result, and writes it to the file or below the folder ``out``.

    Args:
        written: the result.
        out: where to.
    """
    words = shlex.split(written["command"])
    dropped = {"--out", "-o", "--engine"} | ({"--data", "--seeds"} if written.get("kind") == "proof" else set())
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word != "--overwrite" and not {before, word} & dropped
    ]
    program = [sys.executable, "-m", "diptych.cli"] if kept[0] == "diptych" else [sys.executable]
    command = [*program, *kept[1:], "--out", str(out)]
    if kept[0] != "diptych":  # how a shipped model or a bound was measured
        reads_data = "DIPTYCH_DATA" in os.environ and not written.get("simulated")
        return [*command, *(["--data", os.environ["DIPTYCH_DATA"]] if reads_data else [])]
    if written["kind"] == "proof":
        sets = ",".join(d["dataset"] for d in written["datasets"])
        command += ["--data", sets, "--seeds", ",".join(map(str, written["seeds"])), "--overwrite"]
    engine = str(written.get("engine") or "torch").split(" ")[0].strip(",")
    return [*command, "--engine", kind_of(engine)]


def numbers(data: Any, place: str = "", without: Set[str] = VARYING) -> Iterator[tuple[str, float]]:
    """Yield where each number stands, and the number; verdicts are numbers too. Nothing below a key ``without``."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        if key not in without:
            yield from numbers(value, f"{place}.{key}" if place else str(key), without)
    if isinstance(data, (int, float)):
        yield place, float(data)


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[int, list[str], list[str]]:
    """Return how many numbers stand in both, one line for each that differs, and where those stood that are gone.

    The ends of intervals that are no longer computed so are not compared, see ``TWO_WAY``.
    """
    without = VARYING | ENDS if older(old) else VARYING
    before, after = (dict(numbers(data, without=without)) for data in (old, new))
    lines = [
        f"{place}: {value:.6f}, now {after[place]:.6f}"
        for place, value in before.items()
        if place in after and not abs(value - after[place]) <= TOLERANCE
    ]
    gone = [place for place in before if place not in after]
    return len(before) - len(gone), lines, gone


def older(written: Mapping[str, Any]) -> bool:
    """Return whether the two-sided intervals of a proof or board are crossed bootstraps."""
    return written.get("kind") in ("proof", "board") and str(written.get("date", "")) < TWO_WAY


def run(name: str, written: Mapping[str, Any], out: Path) -> Path | None:
    """Repeat a result unless it lies in ``out``; return its file, or None where the command failed."""
    path = out / f"{name}.json"
    if path.exists():
        return path
    proof, board = (written.get("kind") == kind for kind in ("proof", "board"))
    at = out / "running" / name
    threads = str(written.get("threads") or 1)
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir(parents=True)
    written_again = at / ("board.json" if board else f"{name}.json")
    start = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    with (at / "log.txt").open("w", encoding="utf-8") as log:
        line = command(written, at if board or proof else written_again)
        subprocess.run(line, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)
    if not written_again.exists():
        return None
    print(f"{name}: {time.monotonic() - start:.0f} s")  # noqa: T201
    path.parent.mkdir(parents=True, exist_ok=True)
    written_again.replace(path)
    return path


def main(arguments: Sequence[str] | None = None, results: Path = ROOT / "results") -> int:
    """Run, compare, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="such as gda or boards/caltech40 (default: all proofs and boards)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "results")
    parser.add_argument("--over", action="store_true", help="write over the committed files")
    given = parser.parse_args(arguments)
    code = 0
    for name, written in chosen(results, given.names).items():
        path = run(name, written, given.out)
        if path is None:
            print(f"{name}: failed, see {given.out / 'running' / name / 'log.txt'}")  # noqa: T201
            code = code or 1
            continue
        count, lines, gone = compared(written, json.loads(path.read_text(encoding="utf-8")))
        print(f"{name}: {len(lines)} of {count} numbers differ" if lines else f"{name}: all {count} numbers the same")  # noqa: T201
        if older(written):
            print("  its two-sided intervals and p-values are of an older method, and were not compared")  # noqa: T201
        for line in [*lines, *(f"{place}: no longer written" for place in gone)]:
            print(f"  {line}")  # noqa: T201
        code = 5 if lines else code
        if given.over:
            shutil.copy(path, results / f"{name}.json")
    return code


if __name__ == "__main__":
    sys.exit(main())
