from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from diptych.core import DataError, MissingExtra
from diptych.search_index.database import Row, number_of
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.index import Index
from diptych.search_index.lance_database import LanceDatabase
from diptych.search_index.rows import Entry
from diptych.search_index.where import Condition
from tests.support.servers.s3 import s3_server

lance = pytest.importorskip("lance", reason="needs the extra 'lance'")
FACTS = {"dim": 4, "fingerprint": "f", "backbone": "small"}
WORKER = """
import sys
import numpy as np
from diptych.search_index.opening import create_at
from diptych.search_index.rows import Entry

address, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with create_at(address, {"dim": 4, "fingerprint": "f", "backbone": "small"}) as index:
    for start in range(first, last, 10):
        names = [f"{i:03d}" for i in range(start, start + 10)]
        vectors = np.random.default_rng(start).standard_normal((10, 4)).astype(np.float32)
        index.add([Entry(n, facts={f"column{start}": 1}) for n in names], {"image": (np.arange(10), vectors)})
    index.compact()
"""


def filled(address: str, facts: list[dict[str, str | int | float]]) -> DatabaseIndex:
    made = DatabaseIndex.create(LanceDatabase(address), FACTS)
    vectors = np.eye(4, dtype=np.float32)[np.arange(len(facts)) % 4]
    made.add([Entry(f"{i}.jpg", facts=f) for i, f in enumerate(facts)], {"image": (np.arange(len(facts)), vectors)})
    return made


@pytest.mark.parametrize(
    "text",
    ["label~*a*", "label~[b-c]at", "label~[^b-c]at", "label~?at", "name~1?.jpg", "n~1*", "label<cat", "label>=cat",
     "label>b", "n<2", "n>=x", 'label~*"*', "label=it's", "n=1e400", "n<nan", 'a "b, c=1', "n<1e400", "n!=nan",
     "back slash=a\\b",
     "label~*\\*", "été=où", "n=1.0"],
)  # fmt: skip
def test_conditions_on_odd_texts_mean_what_sqlite_says(tmp_path: Path, text: str) -> None:
    values = ["cat", "bat", "rat", "", 'say "a"', "it's", "a\\b", "\n", "x, ", '": 5', "où"]
    facts: list[dict[str, str | int | float]] = [{"label": v, "n": i} for i, v in enumerate(values)]
    facts += [{"label": 7, "n": "1"}, {"n": 1.5, "a b, c": 1}, {"back slash": "a\\b", "été": "où"}, {}]
    made, folder = filled(f"lance:{tmp_path / 'lance'}", facts), Index.create(tmp_path / "folder", FACTS)
    folder.add([Entry(f"{i}.jpg", facts=f) for i, f in enumerate(facts)], {})
    assert made.count([Condition.parse(text)]) == folder.count([Condition.parse(text)])


def write_side_by_side(address: str, environment: dict[str, str]) -> DatabaseIndex:
    """Four processes make and fill one index; their entries overlap."""
    spans = [(0, 60), (0, 60), (30, 90), (60, 120)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, address, str(a), str(b)], env={**os.environ, **environment},
            stderr=subprocess.PIPE, text=True,
        )
        for a, b in spans
    ]  # fmt: skip
    ended = [(w.communicate()[1], w.returncode) for w in workers]
    assert [code for _, code in ended] == [0] * 4, ended
    return DatabaseIndex(LanceDatabase(address))


def whole(made: DatabaseIndex) -> None:
    assert list(made.names()) == [f"{i:03d}" for i in range(120)]
    assert len(made) == len(made.vectors("image")) == 120
    assert set(made.columns()) == {"name", "caption", *(f"column{i}" for i in range(0, 120, 10))}


def test_workers_write_side_by_side_into_a_folder(tmp_path: Path) -> None:
    whole(write_side_by_side(f"lance:{tmp_path / 'lance'}", {}))


def test_workers_that_create_at_once_make_one_version(tmp_path: Path) -> None:
    together = Barrier(4)

    def create(i: int) -> None:
        database = LanceDatabase(f"lance:{tmp_path / str(i)}")
        together.wait()
        database.create(4)

    with ThreadPoolExecutor(4) as pool:
        for i in range(40):
            list(pool.map(create, [i] * 4))
            assert lance.dataset(str(tmp_path / str(i) / "notes.lance")).version == 1
            assert lance.dataset(str(tmp_path / str(i) / "entries.lance")).version == 1


def test_workers_write_side_by_side_into_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        made = write_side_by_side("s3://bucket/some/pets", environment)
        whole(made)
        (best,) = made.nearest(made.vectors("image")[number_of("042")], 1, {"image": 1.0})
        assert best.entry.name == "042"
        with pytest.raises(DataError, match=r"^s3://none/pets cannot be used .*404 Not Found"):
            LanceDatabase("s3://none/pets").notes("facts")
        assert LanceDatabase("s3://bucket/nothing").notes("facts") == {}


def test_many_small_files_become_few(tmp_path: Path) -> None:
    made = DatabaseIndex.create(LanceDatabase(f"lance:{tmp_path / 'lance'}"), FACTS)
    for i in range(70):
        made.add([Entry(f"{i}.jpg")], {"image": (np.array([0]), np.ones((1, 4), np.float32))})
    table = lance.dataset(str(tmp_path / "lance" / "entries.lance"))
    assert len(table.get_fragments()) == 70
    made.compact()
    table = lance.dataset(str(tmp_path / "lance" / "entries.lance"))
    assert len(table.get_fragments()) == 1
    assert len(made) == len(made.numbers([f"{i}.jpg" for i in range(70)])) == 70


def test_a_lost_table_and_a_missing_extra_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(f"lance:{tmp_path / 'lance'}", [{"n": 1}])
    (tmp_path / "lance" / "entries.lance").rename(tmp_path / "away")
    with pytest.raises(DataError, match="has lost its table entries"):
        made.database.put([Row(1, Entry("a"), frozenset())])
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be used"):
        LanceDatabase(f"lance:{tmp_path / 'file' / 'below'}").create(4)
    monkeypatch.setattr("diptych.core.errors.find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match="An index in Lance needs pylance"):
        LanceDatabase("lance:pets")
