from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diptych.core import DamagedStore, DataError, Run
from diptych.search_index import ann, recall
from diptych.search_index.index import Index
from diptych.search_index.nearest import nearest
from diptych.search_index.rows import Entry
from diptych.search_index.where import Condition, clause, extracted

pytest.importorskip("faiss", reason="needs faiss-cpu of the extra 'index'")
D = 24


def clustered(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((40, D))
    x = centres[rng.integers(40, size=n)] + 0.4 * rng.standard_normal((n, D))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def fill(index: Index, values: np.ndarray, start: int = 0) -> None:
    index.add(
        [Entry(f"{start + i:05d}", facts={"half": i % 2}) for i in range(len(values))],
        {"image": (np.arange(len(values)), values)},
    )


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index.create(tmp_path / "index", {"dim": D, "fingerprint": "f"})
    fill(made, clustered(3000))
    return made


def test_exact_slots_are_those_of_a_sort() -> None:
    x, q = clustered(500), clustered(7, 1)
    assert ann.exact_slots(x, q, 5, 64).tolist() == np.argsort(-(q @ x.T), axis=1, kind="stable")[:, :5].tolist()


def test_recall_is_measured_and_reached_and_grown_deleted_and_filtered_rows_are_right(index: Index) -> None:
    known = ann.build(index, "image", Run(), queries=clustered(30, 2))
    assert ann.about(index, "image") == known
    assert known.slots == 3000
    assert set(known.recall) == {"rows", "texts"}
    assert min(known.recall.values()) >= 0.95

    def agree(**more: object) -> float:
        shares = []
        for q in clustered(20, 3):
            exact = [f.entry.name for f in nearest(index, q, 10, {"image": 1.0}, exact=True, **more)]  # type: ignore[arg-type]
            near = [f.entry.name for f in nearest(index, q, 10, {"image": 1.0}, exact=False, **more)]  # type: ignore[arg-type]
            shares.append(len(set(exact) & set(near)) / len(exact))
        return float(np.mean(shares))

    assert agree() >= 0.9
    fill(index, clustered(200, 4), start=5000)  # behind what the index covers
    assert agree() >= 0.9
    index.delete([f"{i:05d}" for i in range(0, 3000, 3)])
    assert agree() >= 0.9
    assert agree(where=[Condition.parse("half=1")]) >= 0.9
    rare = [Condition.parse("name=00001")]
    assert [f.entry.name for f in nearest(index, clustered(1)[0], 10, {"image": 1.0}, exact=False, where=rare)] == [
        "00001"
    ]


def test_recall_is_stated_on_queries_that_did_not_choose_the_cells(index: Index) -> None:
    known = ann.build(index, "image", Run(), queries=clustered(30, 2))
    assert set(known.held_out) == {"rows", "texts"}
    assert known.stated == known.held_out
    assert known.queries == {"rows": 100, "texts": 15}
    earlier = replace(known, held_out={})
    assert earlier.stated == known.recall
    values, others = clustered(3000), clustered(30, 2)[1::2]
    exact = ann.exact_slots(values, others, 10, 512)
    near = [ann.candidates(index, "image", known, q, 40) for q in others]
    assert known.held_out["texts"] == pytest.approx(
        np.mean([np.isin(row, slots).mean() for row, slots in zip(exact, near, strict=True)])
    )


def test_a_mapped_file_starts_no_threads_that_read_ahead(index: Index) -> None:
    import faiss

    ann.build(index, "image", Run())
    mapped = ann._opened(index.path("image").with_suffix(".faiss"))
    lists = faiss.downcast_InvertedLists(mapped.invlists)  # which lives as long as the index
    assert isinstance(lists, faiss.OnDiskInvertedLists)
    assert lists.prefetch_nthread == 0


def test_the_file_is_read_once_a_build_by_all_who_open_the_index(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    read, real = [], faiss.read_index
    monkeypatch.setattr(faiss, "read_index", lambda *given: read.append(given) or real(*given))

    def searched() -> list[str]:
        with Index(index.folder) as opened:
            return [f.entry.name for f in nearest(opened, clustered(1)[0], 10, {"image": 1.0}, exact=False)]

    ann.build(index, "image", Run())
    first = searched()
    assert searched() == first
    assert len(read) == 1
    ann.build(index, "image", Run())
    assert searched() == first
    assert len(read) == 2
    index.delete(["00001"])
    index.compact()
    ann.build(index, "image", Run())
    assert "00001" not in searched()
    assert len(read) == 3


def test_a_condition_that_few_meet_looks_at_those_alone(tmp_path: Path) -> None:
    made, values = Index.create(tmp_path / "index", {"dim": D, "fingerprint": "f"}), clustered(2000)
    facts = [{"it's new": i % 50, "kind": f"k{i % 4}", "long": "x" * 200} for i in range(2000)]
    made.add(
        [Entry(f"{i:05d}", facts=f) for i, f in enumerate(facts)],
        {"image": (np.arange(2000), values)},  # type: ignore[arg-type]
    )
    conditions = [Condition("it's new", "=", "7")], [Condition("kind", "=", "k1"), Condition("kind", "!=", "k2")]
    query = values[3]
    before = [[f.entry.name for f in nearest(made, query, 10, {"image": 1.0}, where=where)] for where in conditions]
    ann.build(made, "image", Run())
    after = [[f.entry.name for f in nearest(made, query, 10, {"image": 1.0}, where=where)] for where in conditions]
    assert after == before
    assert all(int(name) % 50 == 7 for name in before[0])
    indexes = [words for (words,) in made._database.execute("SELECT sql FROM sqlite_master WHERE name LIKE 'fact_%'")]
    assert sorted("long" in words for words in indexes) == [False, False]
    text, bound = clause(conditions[0])
    plan = made._database.execute(
        f"EXPLAIN QUERY PLAN SELECT id FROM rows WHERE image >= 0{text} ORDER BY image", bound
    )
    assert "USING INDEX fact_" in plan.fetchone()[-1]
    ((root,),) = made._database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'rows'")
    query = f"EXPLAIN SELECT image, text FROM rows WHERE image >= 0{text} ORDER BY image"
    steps = [step[1:4] for step in made._database.execute(query, bound)]
    (table,) = {cursor for kind, cursor, page in steps if kind == "OpenRead" and page == root}
    assert not any(kind == "Column" and cursor == table for kind, cursor, _ in steps), "a row is read"
    ann.build(made, "image", Run())


def test_an_older_index_of_facts_is_replaced(tmp_path: Path) -> None:
    made = Index.create(tmp_path / "index", {"dim": D, "fingerprint": "f"})
    made.add([Entry("a", facts={"kind": "k"})], {"image": (np.arange(1), clustered(1))})  # type: ignore[arg-type]
    words, _ = extracted("kind")
    number = hashlib.sha256(words.encode()).hexdigest()[:16]
    made._database.execute(f"CREATE INDEX fact_{number} ON rows ({words})")  # as earlier versions did
    for _ in range(2):
        made.index_facts()
    found = made._database.execute("SELECT sql FROM sqlite_master WHERE name LIKE 'fact_%'").fetchall()
    assert [sql.endswith("image, text)") for (sql,) in found] == [True]


def test_below_the_bound_search_stays_exact_and_above_it_is_approximate(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.build(index, "image", Run())
    asked: list[int] = []
    real = ann.candidates
    monkeypatch.setattr(ann, "candidates", lambda *a: asked.append(1) or real(*a))
    nearest(index, clustered(1)[0], 3, {"image": 1.0})
    assert not asked
    monkeypatch.setattr(recall, "EXACT", 100)
    nearest(index, clustered(1)[0], 3, {"image": 1.0})
    assert asked
    index.compact()  # new files have no approximate index yet
    asked.clear()
    assert len(nearest(index, clustered(1)[0], 3, {"image": 1.0})) == 3
    assert not asked


def test_damage_and_small_indexes_are_named(index: Index, tmp_path: Path) -> None:
    with Index.create(tmp_path / "small", {"dim": D, "fingerprint": "f"}) as small:
        fill(small, clustered(10))
        with pytest.raises(DataError, match="1,000"):
            ann.build(small, "image", Run())
    ann.build(index, "image", Run())
    index.path("image").with_suffix(".faiss").write_bytes(b"no index")
    with pytest.raises(DamagedStore, match="damaged"):
        nearest(index, clustered(1)[0], 3, {"image": 1.0}, exact=False)
    index.path("image").with_suffix(".ann.json").write_text("{}")
    with pytest.raises(DamagedStore, match="damaged"):
        ann.about(index, "image")
