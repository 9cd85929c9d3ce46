from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tools import kills
from tools.kills import Count, Work, drafts, forked, trial


def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: list[int], found: Any) -> Count:
    """Return the count of one trial whose runs end with some exit codes, the last for the one that is not killed."""
    work, count, left = Work("work", ("verb",), ("--resume",), lambda folder: found), Count(), iter(codes)
    began: list[bool] = []

    def run(work: Work, folder: Path, again: bool, after: float | None, group: bool) -> tuple[int, float]:
        began.append(again)
        folder.mkdir(exist_ok=True)
        (folder / "stderr").write_text("words")
        return (next(left) if after is not None else codes[-1]), 0.0

    monkeypatch.setattr(kills, "run", run)
    trial(work, tmp_path / "trial", {"bits": 1}, 1.0, random.Random(1), count)
    assert not began[0]
    assert all(began[1:])
    return count


def test_what_ends_as_undisturbed_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = tried(tmp_path, monkeypatch, [-signal.SIGKILL, -signal.SIGKILL, -signal.SIGKILL, 0], {"bits": 1})
    assert (count.trials, count.lost) == (1, [])
    assert 1 <= count.killed <= 3


@pytest.mark.parametrize(
    ("codes", "found", "message"),
    [
        ([-9, -9, -9, 0], {"bits": 2}, "bits differ"),
        ([-9, -9, -9, 1], {"bits": 1}, "exit code 1; words"),
        ([2], {}, "code 2"),
    ],
)
def test_what_differs_or_does_not_go_on_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: list[int], found: Any, message: str
) -> None:
    (lost,) = tried(tmp_path, monkeypatch, codes, found).lost
    assert message in lost


def test_a_command_in_a_fork_has_its_exit_code_and_can_be_killed(tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    assert forked(["--version"], log, None, group=False, said=tmp_path / "said")[0] == 0
    assert "diptych" in (tmp_path / "said").read_text()
    assert forked(["classify"], log, None, group=True)[0] == 2
    assert "needs photos" in log.read_text()
    os.mkfifo(pipe := tmp_path / "pipe")  # nobody writes into it, so the command waits until it is killed
    assert forked(["--version"], pipe, 0.1, group=True)[0] == -signal.SIGKILL


def test_drafts_are_what_a_killed_run_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.json.tmp").write_text("")
    assert drafts(tmp_path) == ["a/x.json.tmp"]
