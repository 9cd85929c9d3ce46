from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import DataError, Run, UsageError
from diptych.search_index.database import Database
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.index import Index
from diptych.search_index.nearest import nearest
from diptych.search_index.rows import Entry, Hit
from diptych.search_index.where import Condition

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
DIM = 16
FACTS = {"dim": DIM, "fingerprint": "f", "backbone": "small"}


def entries(count: int = 120) -> tuple[list[Entry], dict[Any, Any]]:
    """Entries with pictures, captions, or both, and metadata of several types."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        label = ("cat", "dog", 'a "b", "year": 7')[i % 3]
        facts: dict[str, str | int | float] = {"year": 1900 + i % 30, "label": label}
        facts |= {"size (mm)": i / 4} if i % 2 else {}
        facts |= {"odd": "7" if i % 4 else 7} if i % 5 else {}
        caption = f"caption {i}" if i % 3 else ""
        rows.append(Entry(f"/photos/{i:03d} é'.jpg", stamp=f"s{i}", key=f"k{i}", caption=caption, facts=facts))
    pictures, texts = np.flatnonzero(np.arange(count) % 7 != 3), np.flatnonzero(np.arange(count) % 3 != 0)
    vectors = rng.standard_normal((2, count, DIM)).astype(np.float32)
    return rows, {"image": (pictures, vectors[0][pictures]), "text": (texts, vectors[1][texts])}


@pytest.fixture(params=["lance", "qdrant"])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A Lance folder, and Qdrant's client in its local mode, which needs no server."""
    package = {"lance": "lance", "qdrant": "qdrant_client"}[request.param]
    if find_spec(package) is None:
        pytest.skip(f"needs the extra {request.param!r}")
    if request.param == "lance":
        from diptych.search_index.lance_database import LanceDatabase

        yield LanceDatabase(f"lance:{tmp_path / 'database'}")
        return
    from qdrant_client import QdrantClient

    from diptych.search_index import qdrant_database

    client = QdrantClient(":memory:")
    monkeypatch.setattr(qdrant_database, "connect", lambda url: client)
    yield qdrant_database.QdrantDatabase(f"qdrant://localhost:6333/pets-{uuid.uuid4().hex[:6]}")


@pytest.fixture
def both(database: Database, tmp_path: Path) -> tuple[DatabaseIndex, Index]:
    made, folder = DatabaseIndex.create(database, FACTS), Index.create(tmp_path / "folder", FACTS)
    rows, vectors = entries()
    made.add(rows, vectors)
    folder.add(rows, vectors)
    return made, folder


def same(found: list[Hit], expected: list[Hit]) -> None:
    assert [f.entry for f in found] == [f.entry for f in expected]
    np.testing.assert_allclose([f.score for f in found], [f.score for f in expected], atol=2e-6)


@pytest.mark.parametrize("weights", [{"image": 1.0}, {"text": 1.0}, {"image": 0.7, "text": 0.3}, {"image": -1.0}])
def test_a_search_finds_what_the_folder_finds(both: tuple[DatabaseIndex, Index], weights: Any) -> None:
    made, folder = both
    for seed in range(5):
        query = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
        query /= np.linalg.norm(query)
        for k in (1, 10, 200):
            same(nearest(made, query, k, weights), nearest(folder, query, k, weights, exact=True))


@pytest.mark.parametrize(
    "text",
    ["label=cat", "label!=cat", "year>=1915", "year<1903", "year=1907", "odd=7", "odd!=7", "size (mm)=0.75",
     "size (mm)<=5", "name=/photos/004 é'.jpg", "caption=caption 7", 'label=a "b", "year": 7', "year!=1900"],
)  # fmt: skip
def test_a_condition_means_what_it_means_in_a_folder(both: tuple[DatabaseIndex, Index], text: str) -> None:
    made, folder = both
    where = [Condition.parse(text)]
    query = np.ones(DIM, np.float32) / 4
    assert made.count(where) == folder.count(where) > 0
    same(nearest(made, query, 20, {"image": 1.0}, where=where), nearest(folder, query, 20, {"image": 1.0}, where=where))
    assert made.facets(where, 40) == folder.facets(where, 40)


def test_a_condition_on_a_column_that_no_entry_has_is_refused(both: tuple[DatabaseIndex, Index]) -> None:
    made, folder = both
    assert made.columns() == folder.columns()
    with pytest.raises(UsageError, match=r"No entry of .* has 'none': conditions may ask for name, caption, label"):
        nearest(made, np.ones(DIM, np.float32), 3, {"image": 1.0}, where=[Condition.parse("none=1")])
    with pytest.raises(UsageError, match=r"has no approximate index of image: build one with 'diptych index --out"):
        nearest(made, np.ones(DIM, np.float32), 3, {"image": 1.0}, exact=False)


def test_approximate_searches_are_measured_and_conditions_stay_exact(database: Database) -> None:
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((40, DIM))
    values = (centres[rng.integers(40, size=1500)] + 0.4 * rng.standard_normal((1500, DIM))).astype(np.float32)
    made = DatabaseIndex.create(database, FACTS)
    made.add([Entry(f"{i:04d}", facts={"half": i % 2}) for i in range(1500)], {"image": (np.arange(1500), values)})
    queries = values[:40] / np.linalg.norm(values[:40], axis=1, keepdims=True)
    assert made.about("image") is None
    known = made.approximate("image", Run(), queries=queries)
    assert DatabaseIndex(database).about("image") == known
    assert (known.slots, set(known.stated)) == (1500, {"rows", "texts"})
    assert min(known.stated.values()) >= 0.9

    def names(exact: bool | None, text: str = "") -> list[list[str]]:
        where = [Condition.parse(text)] if text else []
        return [[h.entry.name for h in nearest(made, q, 10, {"image": 1.0}, where=where, exact=exact)] for q in queries]

    whole = names(exact=True)
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(names(exact=False), whole, strict=True)]
    assert np.mean(shares) >= 0.9
    assert names(None) == whole  # as few are searched exactly
    assert names(False, "half=1") == names(True, "half=1")
    made.add([Entry("new", facts={"half": 1})], {"image": (np.array([0]), queries[:1])})
    assert nearest(made, queries[0], 2, {"image": 1.0}, exact=False)[1].entry.name in ("0000", "new")
    with pytest.raises(DataError, match="holds 0 text vectors, and an approximate index pays from 1,000 on"):
        made.approximate("text", Run())


def test_an_approximate_search_that_finds_too_little_is_refused(
    both: tuple[DatabaseIndex, Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = both
    rng = np.random.default_rng(2)
    values = rng.standard_normal((1200, DIM)).astype(np.float32)
    made.add([Entry(f"{i:04d}") for i in range(1200)], {"image": (np.arange(1200), values)})
    exact = made.database.nearest
    found: dict[Any, Any] = {}

    def cut(modality: Any, query: Any, k: int, *given: Any, effort: int | None = None) -> Any:
        key = (modality, query.tobytes(), k, repr(given))  # each of 14 efforts asks the same
        if key not in found:
            found[key] = exact(modality, query, k, *given)
        return found[key][: 2 if effort else None]

    monkeypatch.setattr(made.database, "nearest", cut)
    with pytest.raises(DataError, match=r"finds \d+ % of the nearest image vectors, and 90 % are needed"):
        made.approximate("image", Run())
    assert made.about("image") is None


def test_rows_read_as_those_of_a_folder(both: tuple[DatabaseIndex, Index]) -> None:
    made, folder = both
    rows, _ = entries()
    names = [e.name for e in rows]
    assert made.stamps([*names, "none"]) == folder.stamps([*names, "none"])
    assert list(made.names("*00*")) == list(folder.names("*00*")) != []
    numbers = made.numbers([*names, "none"])
    assert {made.entries([n])[n].name for n in numbers.values()} == set(names)
    slots = made.slots([numbers[n] for n in names])
    expected = folder.slots([folder.numbers(names)[n] for n in names])
    assert ((slots >= 0) == (expected >= 0)).all()
    np.testing.assert_allclose(
        made.vectors("image")[slots[slots >= 0]], folder.vectors("image")[expected[expected >= 0]], atol=1e-7
    )
    one = made.vectors("image")[int(slots[0])]
    assert one.shape == (DIM,)
    assert len(made.vectors("text")) == len(folder.vectors("text"))
    assert sum(len(b) for b in made.blocks("image")) == sum(len(b) for b in folder.blocks("image"))
    where = [Condition.parse("label=cat")]
    parts = np.concatenate(list(made.slots_where("image", where)))
    located = made.located("image", slots[slots >= 0].tolist(), where)
    assert set(parts.tolist()) == set(located[:, 1].tolist())
    assert ((located[:, 2] >= 0).sum()) == sum((part[:, 2] >= 0).sum() for part in folder.places("image", where))


def test_adding_a_known_name_replaces_it_and_deleting_removes_it(both: tuple[DatabaseIndex, Index]) -> None:
    made, _ = both
    query = np.eye(DIM, dtype=np.float32)[0]
    name = entries()[0][5].name
    made.add([Entry(name, stamp="new", facts={"more": 1})], {"image": (np.array([0]), 3 * query[None])})
    assert len(made) == 120
    (best,) = nearest(made, query, 1, {"image": 1.0})
    assert (best.entry.name, best.entry.stamp, round(best.score, 5)) == (name, "new", 1)
    assert "more" in made.columns()
    assert made.delete([name, "none"]) == 1
    assert len(made) == 119
    assert nearest(made, query, 1, {"image": 1.0})[0].entry.name != name
    made.compact()
    assert made.wasted() == 1.0


def test_an_index_without_captions_is_searched_by_both(database: Database, tmp_path: Path) -> None:
    made, folder = DatabaseIndex.create(database, FACTS), Index.create(tmp_path / "folder", FACTS)
    values = np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)
    for index in (made, folder):
        index.add([Entry(f"{i}.jpg") for i in range(300)], {"image": (np.arange(300), values)})
    made.compact()
    query = values[7] / np.linalg.norm(values[7])
    weights: Any = {"image": 0.7, "text": 0.3}
    same(nearest(made, query, 12, weights), nearest(folder, query, 12, weights))
    assert nearest(made, query, 3, {"text": 1.0}) == []


def test_a_second_machine_finds_facts_by_the_address_alone(database: Database) -> None:
    with pytest.raises(UsageError, match=re.escape(f"There is no index at {database.address}: make one with")):
        DatabaseIndex(database)
    with DatabaseIndex.create(database, {**FACTS, "note": "é"}) as made:
        assert len(made) == 0
    again = DatabaseIndex(type(database)(database.address))  # type: ignore[call-arg]
    assert json.loads(json.dumps(dict(again.facts))) == {**FACTS, "note": "é"}
    assert DatabaseIndex.create(database, FACTS).facts["note"] == "é"
    with pytest.raises(UsageError, match="was indexed with small"):
        DatabaseIndex.create(database, {**FACTS, "fingerprint": "g", "backbone": "other"})


def test_bad_input_is_named(both: tuple[DatabaseIndex, Index]) -> None:
    made, _ = both
    with pytest.raises(DataError, match="takes"):
        made.add([Entry("x")], {"image": (np.array([0]), np.ones((1, 3), np.float32))})
    with pytest.raises(DataError, match="zero or not finite"):
        made.add([Entry("x")], {"image": (np.array([0]), np.zeros((1, DIM), np.float32))})
    with pytest.raises(DataError, match="takes names in UTF-8"):
        made.add([Entry("caf\udce9.jpg")], {"image": (np.array([0]), np.ones((1, DIM), np.float32))})
    with pytest.raises(DataError, match="has lost entry 5 meanwhile"):
        made.vectors("image")[5]
    with pytest.raises(UsageError, match="k of at least 1"):
        nearest(made, np.ones(DIM, np.float32), 0, {"image": 1.0})
    assert len(made) == 120
