from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from diptych.core import DamagedStore, DataError, UsageError
from diptych.search_index.index import Index
from diptych.search_index.nearest import nearest
from diptych.search_index.rows import Entry, dumped
from diptych.search_index.where import Condition
from tests.support.work.index import BATCH, DIM, fill, vector

FACTS = {"dim": DIM, "fingerprint": "f", "backbone": "small"}


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index.create(tmp_path / "index", FACTS)
    for number in range(5):
        fill(made, number)
    return made


def names(index: Index, query: np.ndarray, k: int = 3, **more: object) -> list[str]:
    return [f.entry.name for f in nearest(index, query, k, {"image": 1.0}, **more)]  # type: ignore[arg-type]


def whole(index: Index) -> None:
    """Every entry has the vectors that its name gives."""
    for place in index.places("image"):
        stored = index.vectors("image")[place[:, 1]]
        entries = index.entries(place[:, 0].tolist())
        for row, v in zip(place, stored, strict=True):
            name = entries[int(row[0])].name
            np.testing.assert_allclose(v, vector(name), atol=1e-6)
            if row[2] >= 0:
                np.testing.assert_allclose(index.vectors("text")[row[2]], -vector(name), atol=1e-6)


def test_exact_search_is_what_a_loop_finds(index: Index) -> None:
    q = vector("asked")
    everything = sorted(index.names(), key=lambda n: -float(vector(n) @ q))
    neighbours = nearest(index, q, 7, {"image": 1.0})
    assert [f.entry.name for f in neighbours] == everything[:7]
    assert neighbours[0].score == pytest.approx(float(vector(everything[0]) @ q), abs=1e-6)


def test_pictures_and_captions_are_weighted_and_a_missing_caption_counts_nothing(index: Index) -> None:
    q = vector("asked")

    def score(name: str) -> float:
        s = float(vector(name) @ q)
        return 0.7 * s - (0.3 * s if int(name.split("-")[1]) % 2 == 0 else 0.0)

    neighbours = nearest(index, q, 40, {"image": 0.7, "text": 0.3})
    assert [f.entry.name for f in neighbours] == sorted(index.names(), key=lambda n: -score(n))
    np.testing.assert_allclose(
        [f.score for f in neighbours], sorted(map(score, index.names()), reverse=True), atol=1e-6
    )
    assert len(nearest(index, q, 40, {"text": 1.0})) == 5 * BATCH // 2


def test_adding_a_known_name_replaces_it_and_deleting_removes_it(index: Index) -> None:
    q = vector("asked")
    index.add([Entry("2-3", stamp="new")], {"image": (np.array([0]), q[None])})
    assert len(index) == 5 * BATCH
    assert names(index, q, 1) == ["2-3"]
    assert index.stamps(["2-3", "none"]) == {"2-3": ("new", "", "{}")}
    assert index.delete(["2-3", "none"]) == 1
    assert len(index) == 5 * BATCH - 1
    assert "2-3" not in names(index, q, 40)
    assert index.wasted() > 0
    before = names(index, q, 40)
    index.compact()
    assert index.wasted() == 0
    assert names(index, q, 40) == before
    assert sorted(p.name for p in index.folder.glob("*.f32")) == ["image-1.f32", "text-1.f32"]
    whole(index)
    fill(index, 9)
    whole(index)


def test_a_reader_goes_on_while_a_writer_compacts(index: Index) -> None:
    reader = Index(index.folder)
    before = names(reader, vector("asked"), 40)
    index.compact()
    assert names(reader, vector("asked"), 40) == before


def test_conditions_are_what_a_loop_finds(index: Index) -> None:
    facts = [
        {"year": 1990, "label": "cat"},
        {"year": 2001.5, "label": "dog"},
        {"label": "7"},
        {"year": "late", "label": "cat"},
        {},
    ]
    index.delete(list(index.names()))
    index.add(
        [Entry(f"/a/{i}.jpg", caption=f"c{i}", facts=f) for i, f in enumerate(facts)],
        {"image": (np.arange(5), np.stack([vector(str(i)) for i in range(5)]))},
    )

    def met(*conditions: str) -> list[int]:
        neighbours = nearest(index, vector("q"), 9, {"image": 1.0}, where=[Condition.parse(c) for c in conditions])
        return sorted(int(f.entry.name[3]) for f in neighbours)

    assert met("year>=1990") == [0, 1]
    assert met("year > 1990") == [1]
    assert met("year<3000", "label=cat") == [0]
    assert met("label=7") == [2]
    assert met("label!=cat") == [1, 2, 4]
    assert met("label~c*") == [0, 3]
    assert met("name~*/2.jpg") == [2]
    assert met("caption=c4") == [4]
    assert met("label=x' OR 1=1 --") == []
    assert met('la"bel=cat') == [0, 3]  # quotes do not leave the path
    assert index.columns() == ("name", "caption", "label", "year")
    for unknown in ("yaer>1990", "colour!=red"):  # the second would be met by all
        with pytest.raises(UsageError, match=r"may ask for name, caption, label, year\."):
            met(unknown)
    for bad in ("label", "=cat", "label=", ""):
        with pytest.raises(UsageError, match="where takes"):
            Condition.parse(bad)


def test_slots_come_in_parts_and_search_by_parts_finds_the_same(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.delete(["1-2", "3-0"])
    index.add(
        [Entry(f"{i}", facts={"half": i % 2}) for i in range(5)],
        {"image": (np.arange(5), np.stack([vector(str(i)) for i in range(5)]))},
    )
    odd, q = [Condition("half", "=", "1")], vector("asked")
    whole = next(index.places("image"))
    assert [index.more_than(n, odd) for n in (1, 2)] == [True, False]
    assert index.more_than(len(index) - 1)
    assert not index.more_than(len(index))
    before = names(index, q, 40), [f.entry.name for f in nearest(index, q, 40, {"image": 1.0}, where=odd)]
    assert sorted(before[1]) == ["1", "3"]
    for size in (1, 4, len(whole), 999):
        parts = list(index.slots_where("image", size=size))
        assert max(map(len, parts)) == min(size, len(whole))
        assert np.concatenate(parts).tolist() == whole[:, 1].tolist()
        monkeypatch.setattr("diptych.search_index.described.CHUNK", 4 * index.dim * size)
        assert before == (names(index, q, 40), [f.entry.name for f in nearest(index, q, 40, {"image": 1.0}, where=odd)])
    assert not list(index.slots_where("image", [Condition("half", "=", "2")]))


def test_of_equal_scores_the_older_entry_comes_first(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-2, 3, size=60)
    rows = np.array([[1.0, v] for v in values], dtype=np.float32)
    index = Index.create(tmp_path / "i", {"dim": 2, "fingerprint": "f"})
    index.add([Entry(str(i)) for i in range(len(values))], {"image": (np.arange(len(values)), rows)})
    order = sorted(range(len(values)), key=lambda i: (abs(int(values[i])), i))
    for k in (1, 7, 40, 99):
        found = [int(f.entry.name) for f in nearest(index, np.array([1, 0], np.float32), k, {"image": 1.0})]
        assert found == order[:k]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_at_any_moment_loses_nothing_committed(tmp_path: Path) -> None:
    folder, said = tmp_path / "index", -1
    for round_, wait in enumerate((0.0, 0.013, 0.04, 0.09)):
        command = [sys.executable, "-m", "tests.support.work.index", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as work:
            assert work.stdout is not None
            said = int(work.stdout.readline())  # at least one batch is committed
            time.sleep(wait)
            work.send_signal(signal.SIGKILL)
            said = max([said, *(int(line) for line in work.stdout.read().splitlines() if line)])
        with Index(folder) as index:
            batches: dict[int, int] = {}
            for name in index.names():
                batches[int(name.split("-")[0])] = batches.get(int(name.split("-")[0]), 0) + 1
            assert set(range(said + 1)) <= set(batches), round_
            assert set(batches.values()) <= {BATCH, BATCH // 2}  # a batch is there whole, or its deletion is
            whole(index)
            nearest(index, vector("asked"), 5, {"image": 1.0, "text": 1.0})


def test_a_kill_while_an_index_is_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from diptych.search_index import index

class Killed:  # before the database is closed, so that its log stays
    def __init__(self, database):
        self.database = database
    def __enter__(self):
        return self.database
    def __exit__(self, *error):
        os._exit(9)

index.closing = Killed
index.Index.create(Path(sys.argv[1]), {"dim": 3, "fingerprint": "f"})
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "index")], check=False)
    assert done.returncode == 9
    left = {p.name for p in (tmp_path / "index").iterdir()}
    assert left == {"create.lock", "rows.sqlite", "rows.sqlite-wal", "rows.sqlite-shm"}
    (tmp_path / "index" / "rows.sqlite").unlink()  # as of a process that was killed while it cleared up
    made = Index.create(tmp_path / "index", FACTS)
    fill(made, 0)
    whole(made)


def test_of_several_creators_of_one_index_one_makes_it_and_none_loses_an_entry(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry

folder, start, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
while not start.exists():
    pass
with Index.create(folder, {"dim": 3, "fingerprint": "f"}) as index:
    for i in range(10):
        index.add([Entry(f"{number} {i}")], {"image": (np.arange(1), np.ones((1, 3), np.float32))})
"""
    folder, start = tmp_path / "index", tmp_path / "start"
    words = [sys.executable, "-c", script, str(folder), str(start)]
    creators = [subprocess.Popen([*words, str(i)], stdout=subprocess.PIPE) for i in range(4)]
    for creator in creators:
        assert creator.stdout is not None
        assert creator.stdout.readline() == b"ready\n"
    start.touch()
    for creator in creators:
        with creator:
            assert creator.wait(60) == 0
    with Index(folder) as index:
        assert sorted(index.names()) == sorted(f"{number} {i}" for number in range(4) for i in range(10))


def test_a_creator_that_comes_later_opens_what_another_made_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes the index while this one waits for the lock."""
    from diptych.search_index import index as module

    real = module.locked

    @contextmanager
    def after_another(path: Path) -> Iterator[None]:
        monkeypatch.setattr(module, "locked", real)
        with Index.create(path.parent, FACTS) as other:
            fill(other, 0)
        with real(path):
            yield

    monkeypatch.setattr(module, "locked", after_another)
    with Index.create(tmp_path / "index", FACTS) as made:
        whole(made)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("database or disk is full")]
)
def test_a_full_disk_is_named_and_nothing_committed_is_lost(
    index: Index, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    if isinstance(error, sqlite3.OperationalError):
        error.sqlite_errorcode = sqlite3.SQLITE_FULL

    def full(*given: object) -> None:
        raise error

    before = sorted(index.names())
    with monkeypatch.context() as patched:
        patched.setattr("diptych.search_index.index.append", full)
        with pytest.raises(OSError, match="No space left") as caught:
            fill(index, 1)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(index.folder))
    assert sorted(index.names()) == before
    fill(index, 1)


def test_deleted_entries_among_the_best_make_room_for_others(tmp_path: Path) -> None:
    made, rng = Index.create(tmp_path / "index", FACTS), np.random.default_rng(0)
    values = rng.standard_normal((500, FACTS["dim"])).astype(np.float32)
    made.add([Entry(f"{i:03d}") for i in range(500)], {"image": (np.arange(500), values)})
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    query = unit[0]
    order = np.argsort(-(unit @ query), kind="stable")
    made.delete([f"{i:03d}" for i in order[:60]])
    names = [f.entry.name for f in nearest(made, query, 5, {"image": 1.0})]
    assert names == [f"{i:03d}" for i in order[60:65]]
    away = [f.entry.name for f in nearest(made, query, 5, {"image": -1.0})]
    assert away == [f"{i:03d}" for i in order[::-1][:5]]
    assert len(nearest(made, query, 1000, {"image": 1.0})) == 440


def test_bytes_that_a_killed_writer_left_are_written_over(index: Index) -> None:
    with open(index.path("image"), "ab") as file:
        file.write(b"rubbish" * 100)
    whole(index)
    fill(index, 7)
    whole(index)


def test_damage_and_bad_input_are_named(index: Index, tmp_path: Path) -> None:
    q = vector("asked")
    with pytest.raises(UsageError, match="no index at"):
        Index(tmp_path / "none")
    for opens in (Index, lambda folder: Index.create(folder, FACTS)):
        with pytest.raises(UsageError, match=r"^s3://bucket/idx is an address that holds no index"):
            opens(Path("s3://bucket/idx"))
    assert not Path("s3:").exists()
    with pytest.raises(UsageError, match="indexed with small"):
        Index.create(index.folder, {**FACTS, "fingerprint": "g", "backbone": "other"})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("x")
    with pytest.raises(UsageError, match="other files"):
        Index.create(tmp_path / "full", FACTS)
    with pytest.raises(DataError, match="takes"):
        index.add([Entry("x")], {"image": (np.array([0]), np.ones((1, 3), np.float32))})
    with pytest.raises(DataError, match="zero or not finite"):
        index.add([Entry("x")], {"image": (np.array([0]), np.zeros((1, DIM), np.float32))})
    assert "x" not in set(index.names())
    with pytest.raises(UsageError, match="k of at least 1"):
        nearest(index, q, 0, {"image": 1.0})
    with pytest.raises(UsageError, match="no approximate"):
        nearest(index, q, 1, {"image": 1.0}, exact=False)
    path = index.path("image")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedStore, match="shorter"):
        nearest(Index(index.folder), q, 1, {"image": 1.0})
    (index.folder / "index.json").write_text(json.dumps({"schema": 9}))
    with pytest.raises(UsageError, match="schema 9"):
        Index(index.folder)
    (index.folder / "index.json").write_text("{")
    with pytest.raises(DamagedStore, match="damaged"):
        Index(index.folder)


def test_facts_are_sorted_json() -> None:
    assert dumped({"b": 1, "a": "ä"}) == '{"a": "ä", "b": 1}'


def test_an_index_in_a_folder_that_cannot_be_written_is_searched_and_not_written() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name) / "index"
        with Index.create(folder, {"dim": 2, "fingerprint": "x"}) as index:
            index.add([Entry("a")], {"image": (np.array([0]), np.ones((1, 2), np.float32))})
            assert index.vectors("image").shape == (1, 2)  # imports what another user may not read
        for file in folder.iterdir():
            file.chmod(0o444)
        Path(name).chmod(0o755)
        folder.chmod(0o555)
        child = os.fork()  # root may write everywhere, so that another user reads
        if child == 0:
            read_without_writing(folder)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        folder.chmod(0o755)


def test_an_index_on_a_mount_that_is_read_only_is_searched(tmp_path: Path) -> None:
    """As in a container with ``-v ./index:/index:ro``: SQLite then says that it cannot open the file."""
    with Index.create(tmp_path / "index", {"dim": 2, "fingerprint": "x"}) as index:
        index.add([Entry("a")], {"image": (np.array([0]), np.ones((1, 2), np.float32))})
    (tmp_path / "there").mkdir()
    mount = (
        'mount --bind "$0/index" "$0/there" && mount -o remount,bind,ro "$0/there" || exit 77; exec "$1" -c "$2" "$0"'
    )
    code = (
        "import sys; from pathlib import Path; from diptych.search_index.index import Index\n"
        "with Index(Path(sys.argv[1]) / 'there') as index: print(*index.names())"
    )
    command = ["unshare", "--mount", "sh", "-c", mount, str(tmp_path), sys.executable, code]
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("only root mounts a folder read-only")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 77 or done.stderr.startswith("unshare: "):
        pytest.skip(f"this machine lets nobody mount: {done.stderr[:80]}")
    assert (done.returncode, done.stdout) == (0, "a\n"), done.stderr


def test_an_index_on_a_full_disk_is_searched(tmp_path: Path) -> None:
    """SQLite's memory of readers is a file of 32 KiB, for which a limit leaves no room, as a full disk does."""
    with Index.create(tmp_path / "index", {"dim": 2, "fingerprint": "x"}) as index:
        index.add([Entry("a")], {"image": (np.array([0]), np.ones((1, 2), np.float32))})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with Index(tmp_path / "index") as index:
            found = list(index.names())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert found == ["a"]


def read_without_writing(folder: Path) -> None:
    """End this process, with 0 where the index is read and not written."""
    try:
        if os.geteuid() == 0:
            os.setuid(65534)
        with Index(folder) as index:
            assert list(index.names()) == ["a"]
            assert index.vectors("image").shape == (1, 2)
            with pytest.raises(UsageError, match="Cannot write"):
                index.delete(["a"])
        os._exit(0)
    finally:
        os._exit(1)


def test_an_index_of_earlier_weights_names_the_backbone_that_has_them_today(tmp_path: Path) -> None:
    for fingerprint, name in (("6aa0b9a39ec2ff42-fp32", "lite:2026-11"), ("another-fp32", "lite")):
        folder = tmp_path / fingerprint
        Index.create(folder, {"dim": 2, "fingerprint": fingerprint, "backbone": "lite"}).close()
        with Index(folder) as index:
            assert index.facts["backbone"] == name
            index.expect(fingerprint, name)
