"""One training in a folder at a time, whatever ended the one before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from diptych.core import Run, UsageError
from diptych.data.files import _draft
from diptych.train import lock
from diptych.train.lock import sole
from diptych.train.loop import train
from tests.train.toy import FIT, Toy, table

HOLDS = """
import sys, time
from pathlib import Path
from diptych.core import Run
from diptych.train.lock import sole
with sole(Run(out=Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_training_in_a_folder_is_refused_until_the_first_one_ends(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock, "WAIT", 0.2)
    other = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    run = Run(seed=3, out=tmp_path, workers=0)
    try:
        with pytest.raises(UsageError, match=f"Another training runs in {tmp_path}: wait for its end"):
            train(Toy(run), table(), FIT, run)
        assert [p.name for p in tmp_path.iterdir()] == ["lock"]
    finally:
        other.kill()
        other.communicate()
    monkeypatch.setattr(lock, "WAIT", 5.0)
    assert train(Toy(run), table(), FIT, run).position.step == FIT.steps


def test_a_lock_is_held_again_within_itself_and_not_without_a_folder(tmp_path: Path) -> None:
    with sole(Run(out=tmp_path)), sole(Run(out=tmp_path)), sole(Run()):
        assert (tmp_path / "lock").exists()


def test_drafts_of_a_killed_training_go_and_those_of_a_living_process_stay(tmp_path: Path) -> None:
    """A draft is named after the machine and the process that writes it."""
    alive = _draft(tmp_path / "report.json")
    gone = subprocess.run(
        [sys.executable, "-c", "import sys; from pathlib import Path; from diptych.data.files import _draft; "
         "print(_draft(Path(sys.argv[1])))", str(tmp_path / "log.jsonl")],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    for path in (alive, Path(gone)):
        path.write_text("half")
    with sole(Run(out=tmp_path)):
        assert [alive.exists(), Path(gone).exists()] == [True, False]
