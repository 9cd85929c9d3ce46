"""The one writer of files: old or new, whatever is in the way."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

from diptych.core import DataError, UsageError
from diptych.data import files
from diptych.data.files import append, drafted, escaped, locked, write_json, write_whole
from tests.support.faults import Faults, Killed, drafts


def folder_of(path: Path, word: str) -> None:
    with drafted(path, overwrite=True) as draft:
        draft.mkdir()
        (draft / "a.txt").write_text(word)
        (draft / "b.txt").write_text(word)


def read(path: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in path.iterdir()} if path.is_dir() else {}


def test_os_replace_stands_once_in_the_source() -> None:
    """And no other spelling of a rename, nor of a draft."""
    root = Path(files.__file__).parents[1]
    found = [
        f"{path.name}: {line.strip()}"
        for path in root.rglob("*.py")
        for line in path.read_text().splitlines()
        if any(
            w in line for w in ("os.replace(", "os.rename", ".rename(", "mkstemp", "NamedTemporaryFile", "os.fsync(")
        )
    ]
    assert sorted(found) == [
        "doctor.py: with tempfile.NamedTemporaryFile(dir=folder):",  # which only looks whether it may write
        "files.py: os.fsync(handle)",
        "files.py: os.replace(path, target)",
    ]


@pytest.mark.parametrize("kind", ["full", "interrupt", "kill"])
def test_a_file_is_old_or_new(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(1, 6):
        write_whole(tmp_path / "x", b"old" * 100, overwrite=True)
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, kind, tmp_path)  # type: ignore[arg-type]
            try:
                write_whole(tmp_path / "x", b"new" * 100, overwrite=True, durable=True)
            except (OSError, KeyboardInterrupt, Killed):
                pass
            else:
                assert faults.count < at
        assert (tmp_path / "x").read_bytes() == (b"new" if at > 4 else b"old") * 100
        assert kind == "kill" or drafts(tmp_path / "x") == []


@pytest.mark.parametrize("kind", ["full", "kill"])
@pytest.mark.parametrize("old", [{}, {"a.txt": "old", "c.txt": "old"}])
def test_a_folder_is_old_or_new_or_comes_back(
    kind: str, old: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No system renames a folder over a full one: a kill between two renames is mended by the next write."""
    at, states = 0, set[str]()
    while True:
        at += 1
        path = tmp_path / str(at) / "folder"
        path.mkdir(parents=True)
        for name, word in old.items():
            (path / name).write_text(word)
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, kind, path.parent)  # type: ignore[arg-type]
            with contextlib.suppress(OSError, Killed):
                folder_of(path, "new")
        if faults.count < at:
            break
        states.add("absent" if not path.exists() else "new" if read(path).get("a.txt") == "new" else "old")
        assert read(path) in (old, {"a.txt": "new", "b.txt": "new"}, {})
        with pytest.raises(UsageError):
            write_whole(path, "")  # looks first, and brings the old folder back
        assert read(path) in (old, {"a.txt": "new", "b.txt": "new"})
        folder_of(path, "newer")
        assert read(path) == {"a.txt": "newer", "b.txt": "newer"}
        assert not any(p.name.endswith(".diptych-old") for p in path.parent.iterdir())
    assert states == ({"old", "absent"} if kind == "kill" and old else {"old"})


def test_a_folder_that_a_killed_process_had_replaced_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    folder_of(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(files, "_discard", lambda draft: None)
        folder_of(path, "new")
    assert len(list(tmp_path.iterdir())) == 2
    folder_of(path, "newer")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    assert read(path) == {"a.txt": "newer", "b.txt": "newer"}


def test_a_failing_block_leaves_nothing(tmp_path: Path) -> None:
    def fails(draft: Path) -> None:
        draft.mkdir()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_whole(tmp_path / "x", fails)
    (tmp_path / "there").mkdir()
    for folder in ("", "new/folders", "there/new"):
        with pytest.raises(ValueError, match="no"):
            write_whole(tmp_path / folder / "x", fails)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    write_whole(tmp_path / "x", "a")
    for call in (lambda: write_whole(tmp_path / "x", "b"), lambda: write_json(tmp_path / "x", {})):
        with pytest.raises(UsageError, match=r"x exists: give another out or overwrite\."):
            call()
    assert (tmp_path / "x").read_text() == "a"


def test_long_names_and_names_that_are_no_utf8(tmp_path: Path) -> None:
    for name in ("é" * 120 + ".json", os.fsdecode(b"caf\xe9.json")):
        write_json(tmp_path / name, {"name": name})
        assert json.loads((tmp_path / name).read_text(encoding="utf-8")) == {"name": name}
    assert escaped(os.fsdecode(b"caf\xe9") + "é") == "caf\\udce9é"


def test_appending_cuts_what_a_kill_left(tmp_path: Path) -> None:
    append(tmp_path / "deep" / "x", b"one\n")
    append(tmp_path / "deep" / "x", "two\n")
    append(tmp_path / "deep" / "x", b"three\n", at=6)
    assert (tmp_path / "deep" / "x").read_text() == "one\ntwthree\n"


def test_a_lock_is_held_by_one_and_given_back_by_the_dead(tmp_path: Path) -> None:
    code = "\n".join(
        (
            "import time; from pathlib import Path; from diptych.data.files import locked",
            f"with locked(Path({str(tmp_path / 'lock')!r})):",
            "    print('held', flush=True); time.sleep(60)",
        )
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        got: list[float] = []

        def take() -> None:
            with locked(tmp_path / "lock"):
                got.append(time.monotonic())

        thread = threading.Thread(target=take)
        thread.start()
        thread.join(0.3)
        assert got == []
        child.kill()
        thread.join(10)
        assert len(got) == 1


def test_a_full_disk_is_the_systems_error_in_the_words_of_a_library_too(tmp_path: Path) -> None:
    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(OSError, match="No space left on device") as refused, drafted(tmp_path / "a.safetensors"):
        raise SafetensorError(words)
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(tmp_path / "a.safetensors"))
    for other in (DataError(words), SafetensorError("header too large")):
        with pytest.raises(type(other)), drafted(tmp_path / "a.safetensors"):
            raise other
    assert not list(tmp_path.iterdir())


def test_an_error_names_the_path_and_not_the_draft(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, drafted(tmp_path / "photos.csv") as draft:
        (draft / "inside").write_text("")  # no such folder
    assert caught.value.filename == str(tmp_path / "photos.csv" / "inside")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the umask of the process from /proc")
def test_tensors_can_be_read_by_whom_other_files_can(tmp_path: Path) -> None:
    """safetensors makes its files for their owner alone, so that a model in a shared folder was nobody else's."""

    def private(draft: Path) -> None:
        draft.touch(mode=0o600)

    (tmp_path / "plain").write_text("a")
    write_whole(tmp_path / "file", private)
    with drafted(tmp_path / "folder") as draft:
        draft.mkdir()
        private(draft / "tensors")
    for name in ("file", "folder/tensors"):
        assert (tmp_path / name).stat().st_mode == (tmp_path / "plain").stat().st_mode
