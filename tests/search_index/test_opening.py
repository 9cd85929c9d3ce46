from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import UsageError
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.index import Index
from diptych.search_index.opening import create_at, database_at, holds_index, index_at

FACTS = {"dim": 4, "fingerprint": "f", "backbone": "small"}


def test_a_place_is_a_folder_or_an_address(tmp_path: Path) -> None:
    pytest.importorskip("lance", reason="needs the extra 'lance'")
    kinds = {tmp_path / "folder": Index, Path(f"lance:{tmp_path}/lance"): DatabaseIndex}
    for place, kind in kinds.items():
        assert not holds_index(place)
        with pytest.raises(UsageError, match="There is no index at"):
            index_at(place)
        with create_at(place, FACTS) as made:
            assert type(made) is kind
        assert holds_index(place)
        with index_at(str(place)) as again:
            assert (type(again), dict(again.facts)) == (kind, FACTS)
    assert database_at(tmp_path) is None
    with pytest.raises(UsageError, match=r"^hdfs://host/pets is an address that holds no index"):
        index_at(Path("hdfs://host/pets"))
