"""A real process, really killed: what it wrote is enough to end with the same bits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from diptych.train import checkpoint
from tests.train.toy import fit_here

ROOT = Path(__file__).parents[2]


def test_killed_anywhere_and_resumed_gives_the_same_bits(tmp_path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    fit_here(whole, "float32")
    wanted = int.from_bytes(os.urandom(1)) % 20 + 4  # any step will do, and every run of this test tries another
    command = [sys.executable, "-m", "tests.train.toy", str(cut), str(wanted + 3), "float32"]  # it waits there
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    log = cut / "log.jsonl"
    while not log.exists() or log.read_text().count("\n") < wanted:
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not (cut / "final.pt").exists()
    fit_here(cut, "float32")
    a, b = (torch.load(out / "final.pt", weights_only=True) for out in (whole, cut))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[n], b[n]) for n in a), f"killed after {wanted} steps"


def started(out: Path, workers: int, pace: float, *, hold: int = -1) -> subprocess.Popen[bytes]:
    """The program of the toy, as the leader of a process group of its own."""
    command = [sys.executable, "-m", "tests.train.toy", str(out), str(hold), "float32", str(workers), str(pace)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_lines(process: subprocess.Popen[bytes], out: Path, count: int) -> None:
    log = out / "log.jsonl"
    while not log.exists() or log.read_text().count("\n") < count:
        assert process.poll() is None
        time.sleep(0.001)


def same_end(a: Path, b: Path) -> bool:
    first, second = (torch.load(out / "final.pt", weights_only=True) for out in (a, b))
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.enable_socket
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_process_group_is_the_end_of_a_step_and_the_folder_is_free(tmp_path, number) -> None:
    """GNU timeout and schedulers signal the group, workers with it, and the first one twice."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    fit_here(whole, "float32")
    process = started(cut, 2, 0.02)
    wait_for_lines(process, cut, int.from_bytes(os.urandom(1)) % 20 + 4)
    os.kill(process.pid, number)
    if number == signal.SIGTERM:  # a kill of the first process alone leaves its workers, which have its lock no more
        os.killpg(process.pid, number)
    _, words = process.communicate()
    assert process.returncode == -number, words.decode()[-500:]
    if number == signal.SIGTERM:
        steps = (cut / "log.jsonl").read_text().count("\n")
        assert int(checkpoint.newest(cut / "checkpoints").name.split("-")[1]) == steps, "the last step is saved"
    fit_here(cut, "float32")
    assert same_end(whole, cut)


@pytest.mark.usefixtures("heard")
def test_signals_that_come_together_are_one(monkeypatch) -> None:
    before, reached = signal.signal(signal.SIGTERM, lambda number, frame: None), []
    try:
        with contextlib.suppress(KeyboardInterrupt), checkpoint.Stop() as stop:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            monkeypatch.setattr(checkpoint, "TOGETHER", 0.0)
            reached.append(stop.wanted())
            signal.raise_signal(signal.SIGTERM)  # a scheduler's, which waits before it kills
            reached.append(stop.wanted())
            signal.raise_signal(signal.SIGINT)
            reached.append("a later Ctrl-C acts at once")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert reached == [signal.SIGINT, signal.SIGINT]


@pytest.fixture
def heard():
    """Let Ctrl-C be heard where the suite runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_processes_that_are_started_while_signals_are_blocked_never_receive_them() -> None:
    words = "import signal; print(sorted(n.name for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    with checkpoint.signals_blocked():
        child = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "['SIGINT', 'SIGTERM']"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with checkpoint.Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.wanted() == 0
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt), checkpoint.Stop() as stop:
            signal.raise_signal(signal.SIGINT)
        assert stop.wanted() == signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)
