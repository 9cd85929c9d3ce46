"""A real process, really killed: what it wrote is enough to end with the same bits."""

from __future__ import annotations

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
