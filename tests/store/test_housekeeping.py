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

import numpy as np
import pytest

from diptych.core import DiptychError, UsageError
from diptych.data.files import locked
from diptych.store import housekeeping
from diptych.store.folder import space_id
from diptych.store.housekeeping import Space, foreign, list_spaces, move, oldest, remove
from diptych.store.store import Store
from tests.support.work.store import FACTS, key, vectors

KEYS = [key(i) for i in range(10, 20)]
HOUR = 3600.0


def filled(folder: Path, draw: int, hours: float, count: int = 10) -> str:
    """A space of ``count`` vectors in batches of 2, merged and not, that was used ``hours`` ago."""
    store = Store(folder, merge=3)
    space = store.space({**FACTS, "draw": draw})
    for batch in store.plan(space, KEYS[:count], size=2):
        store.put(space, batch, vectors(batch.keys))
    age(folder / space, hours)
    return space


def age(space: Path, hours: float) -> None:
    then = time.time() - hours * HOUR
    for path in (space / "space.json", space / "plans", space / "shards"):
        os.utime(path, (then, then))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_spaces_are_listed_by_last_use(tmp_path: Path) -> None:
    names = [filled(tmp_path, 0, 5), filled(tmp_path, 1, 50, count=4), filled(tmp_path, 2, 1)]
    found = list_spaces(tmp_path)
    assert [s.name for s in found] == [names[1], names[0], names[2]]
    assert [s.vectors for s in found] == [4, 10, 10]
    for s in found:
        inside = [p for p in (tmp_path / s.name).rglob("*") if p.is_file() and p.name != "lock"]
        assert s.bytes == sum(p.stat().st_size for p in inside)
        assert space_id(s.facts) == s.name
    assert json.loads(json.dumps(found[0].as_dict()))["vectors"] == 4


def test_opening_a_space_counts_as_use(tmp_path: Path) -> None:
    space = filled(tmp_path, 0, 30)
    assert time.time() - list_spaces(tmp_path)[0].used > 29 * HOUR
    Store(tmp_path, read_only=True).space({**FACTS, "draw": 0})
    assert time.time() - list_spaces(tmp_path)[0].used > 29 * HOUR
    Store(tmp_path).space({**FACTS, "draw": 0})
    assert time.time() - list_spaces(tmp_path)[0].used < HOUR
    age(tmp_path / space, 30)
    (tmp_path / space / "shards" / "00000009-000000.json").touch()
    assert time.time() - list_spaces(tmp_path)[0].used < HOUR, "a batch that was written is use, too"


@pytest.mark.parametrize(("limit", "gone"), [(100, 0), (60, 0), (59, 1), (50, 1), (49, 2), (1, 3), (0, 3)])
def test_the_longest_unused_go_until_the_rest_fits(limit: int, gone: int) -> None:
    spaces = [Space(name, {}, 1, size, used) for name, size, used in (("b", 40, 3.0), ("c", 10, 1.0), ("a", 10, 2.0))]
    assert [s.name for s in oldest(spaces, limit)] == ["c", "a", "b"][:gone]


def test_what_was_removed_is_made_again_and_the_rest_is_untouched(tmp_path: Path) -> None:
    gone, stays = filled(tmp_path, 0, 50), filled(tmp_path, 1, 5)
    before = tree(tmp_path / stays)
    assert remove(tmp_path, oldest(list_spaces(tmp_path), list_spaces(tmp_path)[1].bytes)) == []
    assert not (tmp_path / gone).exists()
    assert tree(tmp_path / stays) == before
    assert Store(tmp_path).verify() == []
    filled(tmp_path, 0, 0)
    assert [s.vectors for s in list_spaces(tmp_path)] == [10, 10]


def test_a_space_in_use_stays(tmp_path: Path) -> None:
    filled(tmp_path, 0, 0.1)
    spaces = list_spaces(tmp_path)
    before = tree(tmp_path)
    assert remove(tmp_path, spaces, idle=HOUR) == spaces
    assert move(tmp_path, tmp_path.with_name("elsewhere"), idle=HOUR) == spaces
    assert tree(tmp_path) == before
    assert remove(tmp_path, spaces, idle=HOUR / 20) == []
    assert list_spaces(tmp_path) == []
    assert remove(tmp_path, spaces) == [], "another process was quicker"


def test_a_writer_that_holds_the_lock_is_waited_for(tmp_path: Path) -> None:
    space = filled(tmp_path, 0, 50)
    with locked(tmp_path / space / "lock"):
        thread = threading.Thread(target=remove, args=(tmp_path, list_spaces(tmp_path)), kwargs={"idle": HOUR})
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        (tmp_path / space / "shards" / "00000009-000000.json").touch()  # it is used while we wait
    thread.join()
    assert list_spaces(tmp_path)[0].vectors == 10


def test_foreign_files_are_never_touched(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    space = filled(folder, 0, 50)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "00000000.json").write_text("precious")
    others = [
        folder / "notes.txt",
        folder / ("ab" * 16) / "space.json",  # its facts are not those of its name
        folder / space / "thesis.pdf",
        folder / space / "shards" / "mine.csv",
        folder / space / "shards" / "copy of 00000000-000000.json",
    ]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    link = folder / space_id({**FACTS, "draw": 7})
    linked = tmp_path / "linked" / link.name
    filled(linked.parent, 7, 50)
    link.symlink_to(linked)
    (folder / space / "shards" / "00000077-000000.json").symlink_to(outside / "00000000.json")
    before = tree(linked)
    assert {others[0], others[1].parent, *others[2:], link} <= set(foreign(folder))
    remove(folder, list_spaces(folder), idle=0)
    assert all(p.read_text() == "{}" for p in others)
    assert (outside / "00000000.json").read_text() == "precious"
    assert tree(linked) == before
    assert not (folder / space / "plans").exists()


def test_plans_behind_a_link_are_foreign(tmp_path: Path) -> None:
    space = filled(tmp_path / "store", 0, 50)
    plans = tmp_path / "store" / space / "plans"
    plans.rename(tmp_path / "elsewhere")
    plans.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    remove(tmp_path / "store", list_spaces(tmp_path / "store"), idle=0)
    assert (tmp_path / "elsewhere" / "00000000.json").exists()


@pytest.mark.parametrize("links", [True, False])
def test_move_keeps_every_byte_and_the_times(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(*paths: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not links:
        monkeypatch.setattr(os, "link", other_disk)
    old, new = tmp_path / "old", tmp_path / "new" / "deep"
    for draw, hours in enumerate((5, 50)):
        filled(old, draw, hours)
    spaces, before = list_spaces(old), {k: v for k, v in tree(old).items() if not k.endswith("lock")}
    seen: list[Space] = []
    assert move(old, new, done=seen.append) == []
    assert seen == spaces
    assert tree(new) == before
    assert tree(old) == {"store.json": before["store.json"]}
    assert list_spaces(new) == spaces, "with their times of last use"
    assert Store(new).verify() == []
    store = Store(new)
    assert np.array_equal(store.get(spaces[0].name, KEYS[:2])[0], vectors(KEYS[:2]))


def test_an_interrupted_move_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break it at every file, as a kill would: nothing is lost, and the same call ends it."""
    count, number = 0, 0
    link = os.link
    while True:
        old, new = tmp_path / f"old{number}", tmp_path / f"new{number}"
        filled(old, 0, 50)
        before = {k: v for k, v in tree(old).items() if not k.endswith("lock")}
        count = 0

        def breaking(source: Path, draft: Path, stop: int = number) -> None:
            nonlocal count
            count += 1
            if count > stop:
                raise KeyboardInterrupt
            link(source, draft)

        monkeypatch.setattr(os, "link", breaking)
        try:
            move(old, new)
        except KeyboardInterrupt:
            assert before.keys() == tree(old).keys() - {k for k in tree(old) if k.endswith("lock")}
            monkeypatch.setattr(os, "link", link)
            assert move(old, new) == []
        assert tree(new) == before
        if count <= number:
            break
        number += 1
    assert number >= 6


def test_an_interrupted_removal_leaves_a_sound_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink
    for stop in range(8):
        folder = tmp_path / str(stop)
        space = filled(folder, 0, 50)
        left = iter(range(stop))

        def breaking(self: Path, missing_ok: bool = False, left: object = left) -> None:
            next(left)  # type: ignore[call-overload]
            unlink(self, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", breaking)
        with contextlib.suppress(StopIteration):
            remove(folder, list_spaces(folder))
        monkeypatch.setattr(Path, "unlink", unlink)
        assert Store(folder).verify() == []
        store = Store(folder)
        values, found = store.get(store.space({**FACTS, "draw": 0}), KEYS)
        for i, k in enumerate(KEYS):
            assert not found[i] or values[i, 0] == int(k[:5], 16)
        assert filled(folder, 0, 0) == space
        assert list_spaces(folder)[0].vectors == 10


def test_a_target_with_other_embeddings_is_refused_before_anything_moves(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    filled(old, 0, 50)
    filled(old, 1, 60)
    filled(new, 0, 50, count=4)
    before = tree(old), tree(new)
    with pytest.raises(UsageError, match="already holds embeddings of the space"):
        move(old, new)
    assert (tree(old), tree(new)) == before


def test_folders_in_one_another_are_refused(tmp_path: Path) -> None:
    filled(tmp_path / "a", 0, 50)
    for target in (tmp_path / "a", tmp_path / "a" / "b", tmp_path):
        with pytest.raises(UsageError, match="one is inside the other"):
            move(tmp_path / "a", target)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    for call in (list_spaces, lambda folder: move(folder, tmp_path / "new")):
        with pytest.raises(UsageError, match="no embedding cache"):
            call(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    filled(tmp_path / "a", 0, 50)
    with pytest.raises(DiptychError, match="cannot be used"):
        move(tmp_path / "a", tmp_path / "file" / "b")
    assert list_spaces(tmp_path / "a")[0].vectors == 10


def test_a_copy_that_differs_is_refused_and_the_source_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(*paths: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    monkeypatch.setattr(housekeeping.shutil, "copy2", lambda source, draft: Path(draft).write_bytes(b"rot"))
    filled(tmp_path / "a", 0, 50)
    with pytest.raises(DiptychError, match="differs from what was written"):
        move(tmp_path / "a", tmp_path / "b")
    assert list_spaces(tmp_path / "a")[0].vectors == 10


def test_housekeeping_loads_no_torch() -> None:
    code = "import sys, diptych.store.housekeeping; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
