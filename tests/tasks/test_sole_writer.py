from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import diptych
from diptych.core import UsageError
from diptych.data.files import drafted
from diptych.tasks import sole_writer as module
from diptych.tasks.sole_writer import sole_writer
from tests.cli.conftest import diptych as command  # noqa: F401

HOLD = """
import sys, time
from pathlib import Path
from diptych.data.files import drafted
from diptych.tasks.sole_writer import sole_writer
out = Path(sys.argv[1])
with sole_writer(out), drafted(out / "deep" / "a.npy") as draft, drafted(out.with_name("b.csv")) as other:
    for path in (draft, other):
        path.write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""


def holding(out: Path) -> subprocess.Popen[str]:
    """Start a process that writes an output, and wait until it does."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def drafts(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*.tmp"))


def test_a_second_run_is_refused_while_the_first_lives_and_its_drafts_go_when_it_is_killed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Any],  # noqa: F811
) -> None:
    monkeypatch.setattr(module, "WAIT", 0.1)
    out = tmp_path / "results" / "out"
    process = holding(out)
    try:
        assert len(drafts(tmp_path)) == 2
        with (
            pytest.raises(UsageError, match=rf"Another run writes {out}: wait for its end, or give another out"),
            sole_writer(out),
        ):
            pass
        got = command("encode", "demo:photos", "--backbone", "tiny", "--engine", "torch", "--out", str(out))
        assert (got.code, f"Another run writes {out}: wait for its end, or give another --out" in got.err) == (2, True)
        with pytest.raises(UsageError, match="Another run writes"):
            diptych.encode("demo:photos", out=str(out), model="tiny")
        assert len(drafts(tmp_path)) == 2, "of a process that lives"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    got = command("encode", "demo:photos", "--backbone", "tiny", "--engine", "torch", "--out", str(out))
    assert got.code == 0, got.err
    assert [name.partition(".csv")[0] for name in drafts(tmp_path)] == [".b"], "of another output"
    with sole_writer(out.with_name("b.csv")):
        assert drafts(tmp_path) == []
    assert not list(tmp_path.rglob("*.lock"))


def test_nothing_stays_of_a_run_that_writes_nothing(tmp_path: Path) -> None:
    with sole_writer(tmp_path / "a" / "b" / "out"):
        assert [p.name for p in tmp_path.rglob("*.lock")] == [".out.lock"]
        with sole_writer(tmp_path / "a" / "b" / "out"):  # within a run that has it
            pass
        assert list(tmp_path.rglob("*.lock"))
    assert list(tmp_path.iterdir()) == []
    with sole_writer(None):
        pass


def test_an_address_is_locked_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 0.1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with sole_writer(Path("s3://bucket/vectors")):
        assert len(list((tmp_path / "cache").rglob("*.lock"))) == 1
        with sole_writer(Path("s3://bucket/others")):
            pass


def test_drafts_of_other_machines_go_when_they_are_old(tmp_path: Path) -> None:
    young, old = (tmp_path / f".a.npy.{digit * 32}.tmp" for digit in "01")
    for path in (young, old):
        path.write_text("half")
    (tmp_path / ".a.npy.of-mine.tmp").write_text("kept")
    before = time.time() - 2 * 24 * 3600
    os.utime(old, (before, before))
    with sole_writer(tmp_path), drafted(tmp_path / "whole") as draft:
        draft.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([".a.npy.of-mine.tmp", young.name, "whole"])
