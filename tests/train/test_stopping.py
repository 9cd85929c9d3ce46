"""Ctrl-C and SIGTERM in a training, and the sentences about them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.train import stopping
from diptych.train.stopping import Stop, announced, signals_blocked


@pytest.mark.usefixtures("heard")
def test_signals_that_come_together_are_one(monkeypatch) -> None:
    before, reached = signal.signal(signal.SIGTERM, lambda number, frame: None), []
    try:
        with contextlib.suppress(KeyboardInterrupt), Stop() as stop:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            monkeypatch.setattr(stopping, "TOGETHER", 0.0)
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
    with signals_blocked():
        child = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "['SIGINT', 'SIGTERM']"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.wanted() == 0
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt), Stop() as stop:
            signal.raise_signal(signal.SIGINT)
        assert stop.wanted() == signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)


BEGIN = """
import os, signal, sys, time
from pathlib import Path
from diptych.train.stopping import Stop, announced

folder = Path(sys.argv[1])
say = lambda text: sys.stderr.write(text + "\\n")
"""


def ended(folder: Path, inside: str, number: str, handlers: str = "") -> tuple[int, str]:
    """Return the exit code and stderr of a process that gets a signal in a block of ``announced``."""
    code = f"""{BEGIN}
signal.signal(signal.SIGINT, signal.default_int_handler)
{handlers}
try:
    with announced(say, "the same goes on from there", folder):
        try:
            {inside}
            os.kill(os.getpid(), signal.{number})
            time.sleep(30)
        finally:
            say("closed")
except KeyboardInterrupt as interruption:
    say(f"KeyboardInterrupt: {{interruption}}")
"""
    words = [sys.executable, "-c", code, str(folder)]
    process = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return process.returncode, process.stderr


STEP = '(folder / "checkpoints" / "step-00000120").mkdir(parents=True)'
COMMAND = "from diptych.cli.signals import Signals; Signals().hear()"
NOTHING = "nothing is saved, and the same command begins again."


@pytest.mark.parametrize(
    ("inside", "sentence"),
    [
        ("pass", f"Stopped before the first step: {NOTHING}"),
        (STEP, "Stopped before the next step: step 120 is saved, and the same goes on from there."),
        (f"{STEP}; Stop().__enter__().__exit__(None, None, None)",
         "Stopped after the last step: step 120 is saved, and the same goes on from there."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_outside_of_the_steps_says_what_is_saved(
    tmp_path: Path, inside: str, sentence: str, number: str
) -> None:
    code, errors = ended(tmp_path, inside, number, COMMAND)
    assert (code, errors.splitlines()) == (0, ["closed", f"KeyboardInterrupt: {sentence}"])


def test_the_sentence_of_the_loop_is_said_once(tmp_path: Path) -> None:
    loop = (
        "stop = Stop().__enter__(); os.kill(os.getpid(), signal.SIGTERM); stop.wanted(); "
        "stop.sentence = 'After 5.'; stop.__exit__(None, None, None)"
    )
    assert ended(tmp_path, loop, "SIGTERM") == (-signal.SIGTERM, "After 5.\n")
    assert ended(tmp_path, loop, "SIGTERM", COMMAND) == (0, "closed\nKeyboardInterrupt: After 5.\n")


def test_a_programs_own_handler_stays_and_the_sentence_follows_it(tmp_path: Path) -> None:
    heard: list[object] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    own = signal.getsignal(signal.SIGTERM)
    try:
        with announced(heard.append, "", tmp_path):
            signal.raise_signal(signal.SIGTERM)
            with Stop() as stop:
                signal.raise_signal(signal.SIGTERM)
                stop.sentence = "After 5."
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM, signal.SIGTERM, "After 5."]


def test_of_blocks_inside_one_another_the_innermost_speaks(tmp_path: Path) -> None:
    inner = "with announced(say, 'the inner goes on', folder): os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)"
    errors = ended(tmp_path, f"{STEP}\n            {inner}", "SIGTERM", COMMAND)[1]
    inside = "Stopped before the next step: step 120 is saved, and the inner goes on."
    assert errors.splitlines() == ["closed", f"KeyboardInterrupt: {inside}"]
    loop = (
        "with announced(say, 'the inner goes on', folder), Stop() as stop: os.kill(os.getpid(), signal.SIGTERM); "
        "stop.wanted(); stop.sentence = 'After 5.'"
    )
    code, errors = ended(tmp_path, loop, "SIGTERM")
    assert (code, errors.splitlines()) == (-signal.SIGTERM, ["After 5."])
    trained = f"{STEP}\n            with announced(say, 'x', folder), Stop(): pass"
    errors = ended(tmp_path / "other", trained, "SIGTERM", COMMAND)[1]
    after = "Stopped after the last step: step 120 is saved, and the same goes on from there."
    assert errors.splitlines() == ["closed", f"KeyboardInterrupt: {after}"]
