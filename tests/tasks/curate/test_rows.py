from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diptych.core import Text, UsageError, Verdict
from diptych.features.entry_counts import EntryCounts
from diptych.tasks.curate.rows import looks_of, row_of, write_looks, write_part


@dataclass(frozen=True)
class Told:
    name: str = "a.jpg"

    def text(self) -> str:
        return "own"


@dataclass(frozen=True)
class Cut:
    name: str = "/slides/s.tif@64,128"

    @property
    def cut(self) -> Mapping[str, Any]:
        return {"slide": "/slides/s.tif", "x": 64}

    def image(self) -> Image.Image:
        return Image.new("RGB", (8, 6), "red")


def test_labels_and_written_texts_stand_in_the_row(tmp_path: Path) -> None:
    plain = row_of(Told(), Verdict(3, True, 0.5), tmp_path)
    assert plain == {"position": 3, "filepath": "a.jpg", "title": "own", "score": 0.5}
    texts = (Text("short", "m", "p", "2026-01-01"), Text("long", "m"))
    row = row_of(Cut(), Verdict(4, True, 1.0, labels=("cluster",), texts=texts), tmp_path)
    assert (row["title"], row["labels"], row["x"]) == ("short", ["cluster"], 64)
    assert [w["value"] for w in row["written"]] == ["short", "long"]
    assert row["filepath"].startswith("pictures/s.tif-64-128-")
    with Image.open(tmp_path / row["filepath"]) as picture:
        assert picture.size == (8, 6)
    write_part(tmp_path / "part.parquet", [plain, row])
    read = pq.read_table(tmp_path / "part.parquet").to_pylist()
    assert read[0]["labels"] is None
    assert read[1]["written"][0] == {"value": "short", "writer": "m", "prompt": "p", "date": "2026-01-01"}
    assert row_of("text alone", Verdict(1, True, 1.0), tmp_path) == {"position": 1, "title": "text alone", "score": 1.0}


def test_a_plan_without_clusters_has_no_looks() -> None:
    with pytest.raises(UsageError, match="no clusters to look at"):
        looks_of(EntryCounts((), np.zeros(0, np.uint64)), 5)


def test_looks_are_rows_to_label(tmp_path: Path) -> None:
    write_looks([(0, "a.png"), (3, "b, c.png")], tmp_path / "looks.csv")
    assert (tmp_path / "looks.csv").read_text() == 'cluster,filepath,labels\n0,a.png,\n3,"b, c.png",\n'
    with pytest.raises(UsageError, match="exists"):
        write_looks([], tmp_path / "looks.csv")
