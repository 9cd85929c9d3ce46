from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core import DiptychError, UsageError
from diptych.store import space_shards
from diptych.store.folder import space_id
from diptych.store.plans import Batch
from diptych.store.sealed import Damage, seal
from diptych.store.store import Store
from tests.support.work import store as store_work
from tests.support.work.store import DIM, FACTS, fill, key, opened, vectors

KEYS = [key(i) for i in range(5, 15)]  # 10 keys, 5 batches of 2: 3 merged, 2 alone


@pytest.mark.parametrize("mode", ["kill", "merge", "writers"])
def test_survives(mode: str, tmp_path: Path) -> None:
    """In a process of its own: it forks, kills, and shows that the store loads no torch."""
    done = subprocess.run([sys.executable, store_work.__file__, mode, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_arrays_open_with_numpy_alone(tmp_path: Path) -> None:
    values, _ = fill(tmp_path, KEYS, 2)
    space = tmp_path / space_id(FACTS)
    assert json.loads((space / "space.json").read_text()) == FACTS
    rows = {}
    for path in (space / "shards").glob("*.json"):
        for block in json.loads(path.read_text())["content"]:
            array = np.load(space / "shards" / block["array"], mmap_mode="r", allow_pickle=False)
            rows |= {k: array[block["start"] + i] for i, k in enumerate(block["keys"])}
    assert np.array_equal(np.stack([rows[k] for k in KEYS]), values)


def test_keeps_batches_whole_and_in_order(tmp_path: Path) -> None:
    values, count = fill(tmp_path, KEYS, 5)
    assert count == 2
    assert np.array_equal(values, np.concatenate([vectors(KEYS[:5]), vectors(KEYS[5:])]))


def test_keys_come_in_any_order_and_several_times(tmp_path: Path) -> None:
    values, _ = fill(tmp_path, KEYS, 5)
    store, space = opened(tmp_path)
    for order in (range(10), range(2, 8), range(9, -1, -1), (3, 3, 4, 4), (0, 1, 2, 9, 7, 8), (5,), ()):
        keys = [KEYS[i] for i in order]
        found = store.get(space, keys)
        assert found[1].all()
        np.testing.assert_array_equal(found[0], values[list(order)])
        found[0][:] = 0  # what is returned is the caller's


def test_shards_are_listed_again_where_they_changed_or_a_key_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known is read without a look at the folder, and what another process merged or dropped is found."""
    values, _ = fill(tmp_path, KEYS, 2)
    damages: list[Damage] = []
    store, space = Store(tmp_path, on_damage=damages.append), opened(tmp_path)[1]
    store.space(FACTS)
    looks: list[Path] = []
    listing = space_shards.list_shards
    monkeypatch.setattr(space_shards, "list_shards", lambda folder: looks.append(folder) or listing(folder))
    assert store.get(space, KEYS)[1].all()
    looks.clear()
    assert np.array_equal(store.get(space, KEYS)[0], values)
    assert not looks
    opened(tmp_path)[0].compact(space)
    assert np.array_equal(store.get(space, KEYS)[0], values)
    new = [key(i) for i in range(40, 42)]
    others, _ = fill(tmp_path, new, 2)
    assert np.array_equal(store.get(space, [*KEYS, *new])[0], np.concatenate([values, others]))
    assert damages == []
    for path in (tmp_path / space / "shards").glob("merged-*"):
        path.unlink()
    assert store.get(space, KEYS)[1].sum() < len(KEYS)


@pytest.mark.parametrize("ask", ["get", "known", "finished"])
def test_what_a_merge_hides_from_one_listing_is_found(
    ask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, KEYS, 2)
    store, space = opened(tmp_path)
    listing, looks = space_shards.list_shards, list[Path]()

    def hiding(folder: Path) -> dict[str, tuple[int, int, int]]:
        looks.append(folder)
        return {} if len(looks) == 1 else listing(folder)

    monkeypatch.setattr(space_shards, "list_shards", hiding)
    if ask == "finished":
        assert store.finished(space, Batch("00000000-000000", tuple(KEYS[:2])))
    else:
        assert (store.get(space, KEYS)[1] if ask == "get" else store.known(space, KEYS)).all()
    assert len(looks) == 3


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) - 6] ^= 16
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def garble(path: Path) -> None:
    path.write_bytes(b"\x00PK\x03\x04 garbage {")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_type(path: Path) -> None:
    np.save(path, np.zeros((2, DIM), dtype=np.float64))


def pickled(path: Path) -> None:
    np.save(path, np.asarray([{"a": 1}], dtype=object), allow_pickle=True)


# sort of file, glob in the space, batches that are redone: one harm to a part of a merged array costs one batch of
# three
SORTS = [
    *[("one array", "0*.npy", 1, harm) for harm in (flip, cut, garble, empty, other_type, pickled, Path.unlink)],
    *[("one list", "0*.json", 1, harm) for harm in (flip, cut, garble, empty)],
    *[("merged array", "merged-*.npy", 1, harm) for harm in (flip, cut)],
    *[("merged array", "merged-*.npy", 3, harm) for harm in (garble, empty, other_type, Path.unlink)],
    *[("merged list", "merged-*.json", 3, harm) for harm in (flip, cut, garble, empty)],
    *[("plan", "../plans/*.json", 0, harm) for harm in (flip, cut, garble, empty)],
    *[("facts", "../space.json", 0, harm) for harm in (cut, garble, empty)],
    *[("schema", "../../store.json", 0, harm) for harm in (cut, garble, empty)],
]


@pytest.mark.parametrize(("sort", "where", "batches", "harm"), SORTS, ids=[f"{s[0]}-{s[3].__name__}" for s in SORTS])
def test_only_what_is_damaged_is_redone(
    sort: str, where: str, batches: int, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    before, _ = fill(tmp_path, KEYS, 2)
    path = min((tmp_path / space_id(FACTS) / "shards").glob(where)).resolve()
    harm(path)
    if sort != "schema":
        assert {d.path.resolve() for d in Store(tmp_path).verify()} == {path}
    damages: list[Damage] = []
    after, redone = fill(tmp_path, KEYS, 2, damages)
    assert after.tobytes() == before.tobytes()
    if sort in ("plan", "facts", "schema"):
        opened(tmp_path, damages)[0].plan(space_id(FACTS), [key(99)], size=2)
    assert {d.path.resolve() for d in damages} == {path}
    assert path.name in str(damages[0])
    assert redone == batches
    damages.clear()
    assert fill(tmp_path, KEYS, 2, damages)[1] == 0
    assert damages == []
    assert Store(tmp_path).verify() == []


def test_what_a_cleared_cache_holds_by_now_is_no_damage_of_what_was_read_before(tmp_path: Path) -> None:
    fill(tmp_path, KEYS, 2)
    found: list[Damage] = []
    before, space = opened(tmp_path, found)
    assert before.get(space, KEYS)[1].all()
    for name in ("shards", "plans"):
        shutil.rmtree(tmp_path / space / name)
    others = [key(i) for i in range(50, 60)]
    values, _ = fill(tmp_path, others, 2)  # batches of the same names, with other keys
    assert not before.get(space, KEYS)[1].any()
    after, space = opened(tmp_path, found)
    again, known = after.get(space, others)
    assert known.all()
    assert np.array_equal(again, values)
    assert found == []


def test_a_lost_plan_keeps_its_number(tmp_path: Path) -> None:
    store, space = opened(tmp_path)
    (lost,) = store.plan(space, KEYS[:2], size=2)
    garble(tmp_path / space / "plans" / "00000000.json")
    damages: list[Damage] = []
    store, space = opened(tmp_path, damages)
    (fresh,) = store.plan(space, KEYS[:2], size=2)
    assert len(damages) == 1
    assert fresh.name != lost.name


def test_unfinished_batches_are_redone_whole_or_not_at_all(tmp_path: Path) -> None:
    store, space = opened(tmp_path)
    first, second = store.plan(space, KEYS[:4], size=2)
    again = store.plan(space, [KEYS[0], KEYS[2], KEYS[5]], size=2, within=[*KEYS[:2], KEYS[2], KEYS[5]])
    assert again[0] == first
    assert again[1].keys == (KEYS[2], KEYS[5])
    store.put(space, again[1], vectors(again[1].keys))
    store.put(space, second, vectors(second.keys))
    values, found = store.get(space, KEYS[2:6])
    assert found.tolist() == [True, True, False, True]
    assert np.array_equal(values[0], vectors(again[1].keys)[0]), "the batch that was finished first answers"
    assert np.array_equal(values[1], vectors(second.keys)[1])


def test_failures_have_no_row_and_are_remembered(tmp_path: Path) -> None:
    values, _ = fill(tmp_path, [key(i) for i in range(3, 7)], 4)
    store, space = opened(tmp_path)
    assert dict(store.failures(space)) == {key(4): "not a picture"}
    assert store.get(space, [key(4)])[1].tolist() == [False]
    assert np.array_equal(values[[0, 2, 3]], vectors([key(3), key(5), key(6)]))


def test_read_only_answers_and_writes_nothing(tmp_path: Path) -> None:
    before, _ = fill(tmp_path, KEYS, 2)
    flip(min((tmp_path / space_id(FACTS) / "shards").glob("0*.npy")))
    listing = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    damages: list[Damage] = []
    store = Store(tmp_path, read_only=True, on_damage=damages.append)
    space = store.space(FACTS)
    for _ in range(2):
        values, found = store.get(space, KEYS)
        assert found.sum() == 8
        assert np.array_equal(values[found], before[found])
    assert len(damages) == 1, "one damage, said once"
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == listing
    unknown = store.space({**FACTS, "draw": 1})
    assert not store.get(unknown, KEYS)[1].any()
    with pytest.raises(UsageError, match="reading only"):
        store.plan(space, KEYS, size=2)
    with pytest.raises(UsageError, match="reading only"):
        store.compact(space)
    with pytest.raises(UsageError, match="There is no embedding cache"):
        Store(tmp_path / "absent", read_only=True)


def test_another_schema_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"schema": 2}')
    for read_only in (False, True):
        with pytest.raises(UsageError, match=r"schema 2.*name another cache folder"):
            Store(tmp_path, read_only=read_only)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiptychError, match="cannot be used"):
        Store(tmp_path / "file" / "cache")


@pytest.mark.parametrize("name", ["../../etc/passwd", "AB" * 32, "", "abc", "0" * 129, "dead beef"])
def test_keys_are_hexadecimal(name: str, tmp_path: Path) -> None:
    store, space = opened(tmp_path)
    for call in (lambda: store.get(space, [name]), lambda: store.plan(space, [name], size=1)):
        with pytest.raises(UsageError, match="is no key"):
            call()
    with pytest.raises(UsageError, match="no space"):
        store.get(name, KEYS)


def test_values_of_another_shape_are_refused(tmp_path: Path) -> None:
    store, space = opened(tmp_path)
    (batch,) = store.plan(space, KEYS[:2], size=2)
    with pytest.raises(UsageError, match=r"needs values \(2, 3\), not \(2, 4\)"):
        store.put(space, batch, np.zeros((2, 4), dtype=np.float32))


def test_an_array_outside_the_folder_is_never_opened(tmp_path: Path) -> None:
    """A list that names ../../x is damage, even if its checksum is right."""

    fill(tmp_path, KEYS[:2], 2)
    (path,) = (tmp_path / space_id(FACTS) / "shards").glob("*.json")
    content = json.loads(path.read_text())["content"]
    content[0]["array"] = "../../x.npy"
    path.write_bytes(seal(content))
    damages: list[Damage] = []
    assert fill(tmp_path, KEYS[:2], 2, damages)[1] == 1
    assert [d.path for d in damages] == [path]


Step = st.one_of(
    st.tuples(st.just("ask"), st.lists(st.integers(5, 14), min_size=1, max_size=6, unique=True), st.integers(1, 3)),
    st.tuples(st.just("plan"), st.lists(st.integers(5, 14), min_size=1, max_size=6, unique=True), st.integers(1, 3)),
    st.tuples(st.just("merge"), st.just([]), st.just(0)),
    st.tuples(st.just("harm"), st.just([]), st.integers(0, 7)),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(Step, max_size=12))
def test_an_answer_is_for_good(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[int], int]]
) -> None:
    """Whatever is asked, planned and left undone, merged or damaged: what was answered once is answered so again, or
    made again the same where its batch can be redone whole.
    """
    folder = tmp_path_factory.mktemp("store")
    told: dict[str, bytes] = {}
    for what, numbers, n in steps:
        keys = [key(i) for i in numbers]
        store, space = opened(folder)
        if what == "plan":
            store.plan(space, keys, size=n)
        elif what == "merge":
            store.compact(space)
        elif what == "harm":
            arrays = sorted((folder / space / "shards").glob("*.npy"))
            if arrays:
                flip(arrays[n % len(arrays)])
                store.get(space, sorted(told))
                fill(folder, [key(i) for i in range(5, 15)], 4)  # holds all items, so every batch is redone whole
        else:
            for k, row in zip(keys, fill(folder, keys, n)[0], strict=True):
                assert row.tobytes() == told.setdefault(k, row.tobytes())
    store, space = opened(folder)
    values, found = store.get(space, sorted(told))
    assert found.all()
    assert [v.tobytes() for v in values] == [told[k] for k in sorted(told)]
    assert store.verify() == []
    shutil.rmtree(folder)


def test_a_cache_full_of_damage_is_told_in_a_few_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = [key(i) for i in range(5, 45)]
    fill(tmp_path, keys, 1)
    broken = [path for path in (tmp_path / space_id(FACTS)).rglob("*.json") if path.name != "space.json"]
    assert len(broken) > 6
    for path in broken:
        path.write_bytes(b"no JSON")
    store = Store(tmp_path)
    space = store.space(FACTS)
    assert not store.get(space, keys)[1].any()
    store.plan(space, keys, size=1)
    assert len(caplog.messages) == 6
    assert caplog.messages[-1].endswith("more of its files are damaged, and made again too.")
