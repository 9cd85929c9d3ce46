"""A real process, really killed: what it wrote is enough to end with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from diptych.core import DataError
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


@pytest.mark.parametrize("stem", ["best", "ema", "module", "optimizer-main"])
def test_a_checkpoint_without_one_of_its_files_is_damaged(tmp_path, stem) -> None:
    tensors = {name: {"w": torch.ones(1)} for name in ("best", "ema", "module", "optimizer-main")}
    folder = checkpoint.save(tmp_path, "step-00000001-epoch-0001", tensors, {}, 2)
    (folder / f"{stem}.safetensors").unlink()
    with pytest.raises(DataError, match=rf"is damaged \(.*{stem}\.safetensors.*\): remove that folder to go on"):
        checkpoint.read(folder)


def test_the_removal_of_an_old_checkpoint_leaves_no_half_of_it(tmp_path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, f"step-0000000{step}-epoch-0001", {"module": {"w": torch.ones(1)}}, {}, 2)
    with patch("shutil.rmtree", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, "step-00000003-epoch-0001", {"module": {"w": torch.ones(1)}}, {}, 2)
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == [f"step-0000000{i}-epoch-0001" for i in (2, 3)]
    checkpoint.save(tmp_path, "step-00000004-epoch-0001", {"module": {"w": torch.ones(1)}}, {}, 2)
    assert not list(tmp_path.glob(".*.tmp"))
