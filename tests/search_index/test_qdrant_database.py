from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diptych.core import DataError, MissingExtra, UsageError
from diptych.search_index import qdrant_database
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.qdrant_database import QdrantDatabase
from diptych.search_index.rows import Entry
from diptych.search_index.where import Condition


@pytest.fixture(autouse=True)
def local() -> Any:
    """A database in memory; the client takes seconds to import, so only who runs these tests does."""
    return pytest.importorskip("qdrant_client", reason="needs the extra 'qdrant'").QdrantClient(":memory:")


@pytest.mark.parametrize("text", ["label~*a*", "label<cat", "name>=b"])
def test_a_condition_that_it_cannot_answer_is_refused(monkeypatch: pytest.MonkeyPatch, local: Any, text: str) -> None:
    monkeypatch.setattr(qdrant_database, "connect", lambda url: local)
    made = DatabaseIndex.create(QdrantDatabase("qdrant://h:1/pets"), {"dim": 4, "fingerprint": "f"})
    with pytest.raises(UsageError, match="Qdrant compares metadata with = and !=, and numbers with < and >, not "):
        made.count([Condition.parse(text)])


def test_requests_stay_small_and_an_address_names_server_and_collection(
    monkeypatch: pytest.MonkeyPatch, local: Any
) -> None:
    asked, sizes = list[str](), list[int]()
    monkeypatch.setattr(qdrant_database, "connect", lambda url: (asked.append(url), local)[1])
    monkeypatch.setattr(qdrant_database, "REQUEST", 4 * 3)
    plain = local.upsert
    monkeypatch.setattr(local, "upsert", lambda n, points, **k: (sizes.append(len(points)), plain(n, points, **k))[1])
    made = DatabaseIndex.create(QdrantDatabase("qdrants://host:6333/pets"), {"dim": 4, "fingerprint": "f"})
    made.add([Entry(str(i)) for i in range(8)], {"image": (np.arange(8), np.ones((8, 4), np.float32))})
    assert (len(made), sizes, asked) == (8, [1, 3, 3, 2], ["https://host:6333"])
    assert {c.name for c in local.get_collections().collections} == {"pets", "pets-notes"}
    for address in ("qdrant://host:6333", "qdrant://host:6333/a/b"):
        with pytest.raises(UsageError, match="is qdrant://HOST:PORT/NAME, not"):
            QdrantDatabase(address)


def test_a_server_that_does_not_answer_and_a_missing_extra_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    database = QdrantDatabase("qdrant://127.0.0.1:9/pets")
    with pytest.raises(DataError, match=r"^qdrant://127.0.0.1:9/pets cannot be used \(.*whether the server runs"):
        database.notes("facts")
    monkeypatch.setattr("diptych.core.errors.find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match="An index in Qdrant needs qdrant-client"):
        QdrantDatabase("qdrant://127.0.0.1:9/pets")
