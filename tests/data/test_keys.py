from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import pickle
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diptych.core import UnreadableItem, UsageError
from diptych.data.keys import FileKeys, hash_file


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.bin" for i in range(300)]
    for i, path in enumerate(paths):
        path.write_bytes(b"%d" % i)
    return paths


def test_key_is_the_hash_of_the_bytes(tmp_path: Path, files: list[Path]) -> None:
    want = [sha(p.read_bytes()) for p in files]
    assert FileKeys().keys_of(files) == want
    with FileKeys(tmp_path / "keys.sqlite") as keys:
        assert keys.keys_of(files) == want
        assert keys.key(files[7]) == want[7]


def test_unchanged_files_are_not_read_again(tmp_path: Path, files: list[Path]) -> None:
    with FileKeys(tmp_path / "keys.sqlite") as keys:
        first = keys.keys_of(files)
        assert keys.hashed == 300
        assert keys.keys_of(files) == first
        assert keys.hashed == 300
    with FileKeys(tmp_path / "keys.sqlite") as keys:
        os.chmod(files[0], 0)  # does not hinder root, so the count is the proof
        assert keys.keys_of(files) == first
        assert keys.hashed == 0


def test_changed_files_are_read_again(tmp_path: Path, files: list[Path]) -> None:
    with FileKeys(tmp_path / "keys.sqlite") as keys:
        keys.keys_of(files)
        files[3].write_bytes(b"longer than before")
        files[4].write_bytes(b"X")
        os.utime(files[4], ns=(1, 1))
        assert keys.keys_of(files[3:6]) == [sha(b"longer than before"), sha(b"X"), sha(b"5")]
        assert keys.hashed == 302


def test_verify_finds_what_size_and_time_hide(tmp_path: Path, files: list[Path]) -> None:
    path, place = files[0], tmp_path / "keys.sqlite"
    os.utime(path, ns=(10**18, 10**18))
    with FileKeys(place) as keys:
        keys.key(path)
    path.write_bytes(b"!")  # as long as before
    os.utime(path, ns=(10**18, 10**18))
    with FileKeys(place) as keys:
        assert keys.key(path) == sha(b"0")
    with FileKeys(place, verify=True) as keys:
        assert keys.key(path) == sha(b"!")
    with FileKeys(place) as keys:
        assert keys.key(path) == sha(b"!")


def test_missing_file(tmp_path: Path) -> None:
    for ask in (FileKeys().key, hash_file):
        with pytest.raises(UnreadableItem, match="no such file"):
            ask(tmp_path / "absent")


def test_keys_found_before_a_missing_file_are_kept(tmp_path: Path, files: list[Path]) -> None:
    with FileKeys(tmp_path / "keys.sqlite") as keys:
        with pytest.raises(UnreadableItem):
            keys.keys_of([*files[:5], tmp_path / "absent"])
        keys.keys_of(files[:5])
        assert keys.hashed == 5


@pytest.mark.parametrize("damage", [b"not a database at all" * 500, "middle", "foreign"])
def test_damaged_file_is_moved_aside_and_rebuilt(
    tmp_path: Path, files: list[Path], damage: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "keys.sqlite"
    with FileKeys(place) as keys:
        want = keys.keys_of(files)
    if damage == "foreign":
        place.unlink()
        with sqlite3.connect(place) as other:
            other.execute("CREATE TABLE letters (a)")
        other.close()
    elif damage == "middle":
        content = bytearray(place.read_bytes())
        content[4096:12288] = b"\xa5" * 8192
        place.write_bytes(content)
    else:
        place.write_bytes(damage)  # type: ignore[arg-type]
    before = place.read_bytes()
    with caplog.at_level(logging.WARNING), FileKeys(place) as keys:
        assert keys.keys_of(files) == want
    assert f"{place} is damaged" in caplog.text
    aside = (tmp_path / "keys.sqlite.damaged-1").read_bytes()
    assert aside == before or damage == "foreign"
    with FileKeys(place) as keys:
        assert keys.keys_of(files) == want
        assert keys.hashed == 0


def test_folder_that_cannot_hold_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"choose a cache folder .*cache"):
        FileKeys(tmp_path / "file" / "keys.sqlite")


def _index(place: Path, paths: list[Path]) -> list[str]:
    with FileKeys(place) as keys:
        return keys.keys_of(paths)


def test_processes_write_at_once(tmp_path: Path, files: list[Path]) -> None:
    place = tmp_path / "cache" / "keys.sqlite"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(_index, [(place, files[:200]), (place, files[100:])])
    assert results == [[sha(b"%d" % i) for i in range(200)], [sha(b"%d" % i) for i in range(100, 300)]]
    with FileKeys(place) as keys:
        keys.keys_of(files)
        assert keys.hashed == 0
    assert not list(place.parent.glob("*damaged*"))


def test_threads_share_one_object(tmp_path: Path, files: list[Path]) -> None:
    with FileKeys(tmp_path / "keys.sqlite") as keys, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(keys.key, files * 3)) == [sha(p.read_bytes()) for p in files * 3]


def test_a_forked_child_opens_its_own_connection(tmp_path: Path, files: list[Path]) -> None:
    with FileKeys(tmp_path / "keys.sqlite") as keys:
        keys.keys_of(files[:10])
        child = os.fork()
        if child == 0:
            keys.keys_of(files)
            keys.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        keys.keys_of(files)
        assert keys.hashed == 10


def test_pickles_by_path(tmp_path: Path) -> None:
    with FileKeys(tmp_path / "keys.sqlite", verify=True) as keys:
        again = pickle.loads(pickle.dumps(keys))
        assert (again.path, again.verify) == (keys.path, True)
        again.close()


def test_names_of_any_bytes(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.bin")
    Path(odd).write_bytes(b"odd")
    with FileKeys(tmp_path / "keys.sqlite") as keys:
        assert keys.key(odd) == sha(b"odd")


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableItem, match="no regular file"):
        FileKeys().keys_of([tmp_path / "pipe.png"])


def unwritable(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let a folder be as on a read-only mount: rights do not hinder root."""
    access, connect = os.access, sqlite3.connect

    def refused(path: object, mode: int) -> bool:
        return access(path, mode) and not (mode & os.W_OK and folder in (Path(str(path)), *Path(str(path)).parents))  # type: ignore[arg-type]

    def reading(database: object, **more: object) -> sqlite3.Connection:
        if str(database).startswith(str(folder)):
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return connect(database, **more)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(os, "access", refused)
    monkeypatch.setattr(sqlite3, "connect", reading)


def test_keys_in_a_folder_that_is_read_only_are_read(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    with FileKeys(cache / "keys.sqlite") as keys:
        keys.keys_of(files[:200])
    unwritable(monkeypatch, cache)
    written = {path: path.read_bytes() for path in cache.iterdir()}
    for _ in range(2):
        with FileKeys(cache / "keys.sqlite") as keys:
            assert keys.keys_of(files) == [sha(p.read_bytes()) for p in files]
            assert keys.hashed == 100, "of those that are not in the file"
            keys.keys_of(files)
            assert keys.hashed == 100
    (cache / "damaged.sqlite").write_bytes(b"no database" * 100)
    for name in ("absent.sqlite", "damaged.sqlite"):
        with FileKeys(cache / name) as keys:
            assert keys.key(files[0]) == sha(b"0")
    (cache / "damaged.sqlite").unlink()
    assert {path: path.read_bytes() for path in cache.iterdir()} == written
