from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError
from diptych.data.cues import read_cues
from tests.support.colours import coloured


def test_folders_as_published(tmp_path: Path) -> None:
    for name in ("cat/cat1-dog3", "cat/cat2-cat3", "dog/dog4-polar bear1", "dog/note"):
        coloured(tmp_path / f"{name}.png", "red", 1)
    data = read_cues(tmp_path)
    assert data.classes == ("cat", "dog", "polar bear")
    table = data.split("test")
    assert [Path(table.items.name(i)).stem for i in range(len(table))] == ["cat1-dog3", "dog4-polar bear1"]
    assert table.labels().tolist() == [0, 1]
    assert table.columns["texture"].values == ("dog", "polar bear")


def test_a_table_with_rows_of_other_kinds(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        coloured(tmp_path / f"{name}.png", "red", 1)
    (tmp_path / "labels.csv").write_text("path,shape_class,texture_class\na.png,cat,dog\nb.png,cat,\nc.png,dog,dog\n")
    data = read_cues(tmp_path)
    assert len(data.split("test")) == 1
    assert data.classes == ("cat", "dog")
    (tmp_path / "labels.csv").write_text("path,shape_class,texture_class\nb.png,cat,\n")
    with pytest.raises(DataError, match="no picture whose shape and texture are of two classes"):
        read_cues(tmp_path)
    (tmp_path / "labels.csv").write_text("path,shape_class\nb.png,cat\n")
    with pytest.raises(DataError, match="no column 'texture_class'"):
        read_cues(tmp_path)
    (tmp_path / "labels.csv").write_text("path,shape_class,texture_class\n../b.png,cat,dog\n")
    with pytest.raises(DataError, match="outside"):
        read_cues(tmp_path)
