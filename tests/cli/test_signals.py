"""Ctrl-C and SIGTERM while a command works: it tidies up, says what is saved, and ends as its parent expects."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import os, signal, sys, time
from diptych.cli.signals import Signals

signal.signal(signal.SIGINT, signal.default_int_handler)
signals = Signals().hear()

def send(number):
    os.kill(os.getpid(), number)
    for _ in range(30):
        time.sleep(0.1)
"""


def ended(code: str) -> tuple[int, list[str]]:
    """Return the exit code and the lines on stdout of a process that hears signals as a command does."""
    words = [sys.executable, "-c", BEGIN + code]
    process = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert not process.stderr
    return process.returncode, process.stdout.splitlines()


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_the_first_signal_interrupts_and_one_that_comes_with_it_is_the_same(number: str) -> None:
    code = f"""
try:
    send(signal.{number})
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.{number})
    print("tidied up", signals.number == signal.{number})
"""
    assert ended(code) == (0, ["tidied up True"])


def test_a_later_signal_ends_at_once() -> None:
    code = """
try:
    send(signal.SIGINT)
except KeyboardInterrupt:
    signals._since -= 2
    print("tidies up", flush=True)
    send(signal.SIGTERM)
    print("never reached")
"""
    assert ended(code) == (-signal.SIGTERM, ["tidies up"])


def test_an_interruption_that_a_destructor_drops_is_raised_again() -> None:
    code = """
class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)

try:
    del_me = Dropping()
    del del_me
    time.sleep(3)
    print("lost")
except KeyboardInterrupt:
    print("interrupted", signals.number == signal.SIGTERM)
"""
    assert ended(code) == (0, ["interrupted True"])


def test_an_interruption_that_comes_in_an_import_is_raised_after_it(tmp_path: Path) -> None:
    swallowing = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
except BaseException:  # as the C++ of an extension module does
    pass
imported = True
"""
    (tmp_path / "swallowing.py").write_text(swallowing)
    code = f"""
sys.path.insert(0, {str(tmp_path)!r})
try:
    import swallowing
    time.sleep(3)
    print("lost")
except KeyboardInterrupt:
    print("interrupted", sys.modules["swallowing"].imported, signals.number == signal.SIGINT)
"""
    assert ended(code) == (0, ["interrupted True True"])


def test_a_second_signal_ends_an_import_that_takes_long_at_once(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(
        "send(signal.SIGINT)\nsignals._since -= 2\nsend(signal.SIGTERM)\nprint('lost')"
    )
    code = f"""
import builtins
builtins.send, builtins.signal, builtins.signals = send, signal, signals
sys.path.insert(0, {str(tmp_path)!r})
import endless
"""
    assert ended(code) == (-signal.SIGTERM, [])


def test_a_forked_worker_ends_without_a_sentence() -> None:
    code = """
child = os.fork()
if not child:
    try:
        send(signal.SIGTERM)
    finally:
        print("a worker speaks", flush=True)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM)
"""
    assert ended(code) == (0, ["True"])


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    code = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
Signals().hear()
os.kill(os.getpid(), signal.SIGINT)
print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
"""
    assert ended(code) == (0, ["True"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_command_ends_in_one_sentence_and_as_its_parent_expects(number: int, code: int) -> None:
    words = f"""
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(print, "a runtime is torn down")
from diptych import catalog
from diptych.cli.__main__ import main
catalog.cards = lambda: os.kill(os.getpid(), {int(number)})
sys.argv = ["diptych", "systems"]
main()
"""
    process = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (code, "", "Interrupted.\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_that_comes_during_the_imports_shows_no_traceback(number: int, code: int) -> None:
    words = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "diptych.cli.main":
            os.kill(os.getpid(), {int(number)})

sys.meta_path.insert(0, Interrupting())
from diptych.cli.__main__ import main
main()
"""
    process = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (code, "Interrupted.\n")


def test_an_interruption_that_python_wraps_while_a_class_is_made_is_one() -> None:
    words = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from diptych import catalog
from diptych.cli.__main__ import main

class Named:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGINT)

catalog.cards = lambda: type("Owner", (), {"named": Named()})
import sys
sys.argv = ["diptych", "systems"]
main()
"""
    process = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (130, "Interrupted.\n")
