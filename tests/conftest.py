from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from diptych.backbones import unpickling, unpickling_child
from diptych.cli.commands import Commands
from diptych.core import Run
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.words.pools import Pool, read_pool
from diptych.evaluation.few_shot.board import Board, board
from diptych.evaluation.few_shot.plan import Plan
from tests.support.colours import ColourBackbone, colour_folder, colour_pool

# Hypothesis fails a test whose examples take more than 0.2 s, which says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


TOGETHER = (
    ("tests/docs/test_tutorials.py", "tests/docs/test_python.py", "tests/docs/test_notebooks.py"),
    (
        "tests/evaluation/few_shot/test_board.py", "tests/evaluation/pages/test_board.py", "tests/proofs/test_rerun.py",
        "tests/tasks/test_record.py",
    ),
    ("tests/cli/test_faults.py",),
    ("tests/contract/test_devices.py",),
)  # fmt: skip
"""Files that one worker runs first, each group in one go: those that share an expensive fixture of the session (a cache
of embeddings, a whole board), and the longest ones, which would else keep one worker after the others have ended.
"""
GROUP_OF = {file: i for i, files in enumerate(TOGETHER) for file in files}


IN_MEMORY = pytest.StashKey[Path]()
ROOM = 8 << 30
"""Bytes that must be free for temporary files in memory; those of the whole suite are 4.3 GB."""


def _has_room(folder: str) -> bool:
    """Return whether files of a folder are in memory, can be run, and have room."""
    try:
        state, memory = os.statvfs(folder), Path("/proc/meminfo").read_text()
        (available,) = (int(line.split()[1]) << 10 for line in memory.splitlines() if line.startswith("MemAvailable:"))
    except (OSError, ValueError):  # not Linux
        return False
    runs = os.access(folder, os.W_OK) and not state.f_flag & os.ST_NOEXEC
    return runs and min(state.f_bavail * state.f_frsize, available) >= ROOM


def pytest_configure(config: pytest.Config) -> None:
    """Put temporary files into memory where it has room for them, and TMPDIR names no other place: a cache of keys is
    opened, filled and closed in 0.6 ms there, in 34 on a disk. They are removed at the end, or by the next run where
    this one is killed; ``TMPDIR=/tmp`` keeps them.

    Where tests are collected, garbage is not: nothing of a million objects that are made then is garbage, and looking
    through them took a fifth of it.
    """
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        gc.disable()
    if hasattr(config, "workerinput") or "TMPDIR" in os.environ or not _has_room("/dev/shm"):
        return
    for left in Path("/dev/shm").glob("diptych-tests-*"):
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"diptych-tests-{os.getpid()}-", dir="/dev/shm"))
    folder.chmod(0o755)  # some tests read as another user
    config.stash[IN_MEMORY] = folder
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)  # workers inherit it


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove these files when the process ends, after those of multiprocessing, which lie among them."""
    if IN_MEMORY in config.stash:
        del os.environ["TMPDIR"]
        tempfile.tempdir = None
        Finalize(None, shutil.rmtree, (config.stash[IN_MEMORY], True), exitpriority=-200)  # its own has -100


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute as ``--dist loadfile`` does, with the files of a group as one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Groups(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return TOGETHER[GROUP_OF[file]][0] if file in GROUP_OF else file

    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the groups first where workers share the tests, which ``--no-loadscope-reorder`` keeps in this order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: GROUP_OF.get(item.nodeid.partition("::")[0], len(TOGETHER)))


def pytest_collection_finish() -> None:
    """Leave a million objects of modules and tests out of each further collection of garbage, which took a twentieth
    of the suite.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 25)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed every generator by the test's name, before its fixtures: a test sees the same draws alone, in another order
    and in CI.
    """
    seed = zlib.crc32(item.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # torch.manual_seed seeds devices too, and formats the stack for each


@pytest.fixture(scope="session", autouse=True)
def short_search() -> Iterator[None]:
    """Judge a sparsity of DN-CBM after 2 epochs instead of 20: that search was two thirds of a board of all systems."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diptych.methods.classify.dn_cbm.TRIED", 2)
        yield


@pytest.fixture(scope="session", autouse=True)
def torch_files_are_read_here() -> Iterator[None]:
    """Read torch files in this process: one of its own imports torch first, 2 s a file. The tests of
    ``backbones.unpickling`` do run it.
    """

    def read(path: Path, folder: Path, bound: int) -> int:
        return unpickling_child.read(path, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpickling, "run_child", read)
        yield


@pytest.fixture(scope="session", autouse=True)
def commands_are_built_once() -> Iterator[None]:
    """Build each command once, as a process does: it holds no state, and is called in thousands of command lines."""
    build, commands = Commands.__getitem__, dict[tuple[str, str], Any]()

    def built(self: Commands, name: str) -> Any:
        place = self.data.get(name)
        if not isinstance(place, str):  # built already, or of another package, which keeps its commands itself
            return build(self, name)
        if (name, place) not in commands:
            commands[name, place] = build(self, name)
        return commands[name, place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Commands, "__getitem__", built)
        yield


class UnsyncedDatabase(sqlite3.Connection):
    """A database that never waits for a disk, whatever it is asked to."""

    def execute(self, statement: str, *given: Any) -> sqlite3.Cursor:
        """Execute a statement; before the mode of the journal is set, which is the first write, leave syncing out."""
        if statement.startswith("PRAGMA journal_mode"):
            super().execute("PRAGMA synchronous = OFF")
        return super().execute("PRAGMA synchronous = OFF" if statement.startswith("PRAGMA sync") else statement, *given)


@pytest.fixture(scope="session", autouse=True)
def no_disk_is_awaited() -> Iterator[None]:
    """Let what is written stay in the kernel's memory: no test cuts the power, and a disk takes 7 ms to sync a file.
    When files are synced, and in which order, ``tests.support.faults`` sees one call above this one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=UnsyncedDatabase))
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the development data sets."""
    folder = os.environ.get("DIPTYCH_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the development data sets: set DIPTYCH_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five colours with 8 train and 10 test pictures each."""
    return colour_folder(tmp_path_factory.mktemp("colours") / "colours", {"train": 8, "test": 10})


@pytest.fixture(scope="session")
def data(colours: Path) -> LabelledData:
    return open_data(colours)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Descriptions of the five colours, and of their pairs."""
    path = tmp_path_factory.mktemp("pool") / "colours.json"
    path.write_text(json.dumps(colour_pool()))
    return read_pool(path)


@pytest.fixture(scope="session")
def finished(
    data: LabelledData, pool: Pool, colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Board, Path]:
    """A whole board, and the folder that it was written to."""
    out = tmp_path_factory.mktemp("out")
    plan = Plan(shots=(1, 4), seeds=(1, 2))
    return board(
        data,
        ColourBackbone(),
        Run(out=out),
        plan,
        texts=pool,
        source=str(colours),
        command="diptych board classify colours",
    ), out
