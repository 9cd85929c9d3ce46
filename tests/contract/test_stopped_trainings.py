"""A training that Ctrl-C or SIGTERM stops says where it stopped, and the flag that it names goes on from there."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from diptych.train.checkpoint import newest
from tests.support.small_clip import training_folder

SENTENCE = re.compile(
    r"^Stopped after step ([\d,]+) of 3,000: the same training with --resume goes on from there\.$", re.M
)


def heard() -> None:
    """Hear Ctrl-C where the suite runs in the background, with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def stopped(folder: Path, number: int, lines: int, *more: str) -> tuple[int, str]:
    """Return the exit code and stderr of a training that gets a signal once its log has so many lines."""
    words = ["finetune", "data", "-b", "local:clip", "--steps", "3000", "--train-batch", "10", "--workers", "0"]
    words += ["--cache", "cache", "--out", "out", "--measure-every", "0", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "diptych.cli", *words], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heard,
    )  # fmt: skip
    log = folder / "out" / "log.jsonl"
    while not log.exists() or log.read_text().count("\n") < lines:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    return process.returncode, errors


def test_the_sentence_has_the_step_of_the_checkpoint_and_what_goes_on(tmp_path: Path) -> None:
    training_folder(tmp_path, 40, 30)
    steps = []
    for number, code, more in ((signal.SIGINT, 130, ()), (signal.SIGTERM, -signal.SIGTERM, ("--resume",))):
        before = (tmp_path / "out" / "log.jsonl").read_text().count("\n") if more else 0
        found, errors = stopped(tmp_path, number, before + 5, *more)
        assert found == code, errors
        assert "Interrupted" not in errors
        sentences = SENTENCE.findall(errors)
        assert len(sentences) == 1, errors
        steps.append(int(sentences[0].replace(",", "")))
        checkpoint = newest(tmp_path / "out" / "checkpoints")
        assert checkpoint is not None
        assert int(checkpoint.name.split("-")[1]) == steps[-1]
    assert steps[1] > steps[0] >= 5
