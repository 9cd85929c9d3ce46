from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, UsageError
from diptych.data.formats.semantic import IGNORE, read_semantic


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[0, 2, 7], [9, 2, 0]], dtype=np.uint8)).save(tmp_path / "m.png")
    (tmp_path / "labels.csv").write_text("path,mask,split\na.png,m.png,val\n")
    (tmp_path / "classes.csv").write_text("value,name\n7,sky\n0,void\n2,cow\n")
    return tmp_path


def test_numbers_become_positions_and_the_rest_does_not_count(folder: Path) -> None:
    data = read_semantic(folder, void=(0,))
    assert data.classes == ("cow", "sky")
    table = data.split("val").take([0])
    assert table.columns["mask"].values[0].tolist() == [[IGNORE, 0, 1], [IGNORE, 0, IGNORE]]
    assert read_semantic(folder).classes == ("void", "cow", "sky")


@pytest.mark.parametrize(
    "text", ["value,name\nx,sky\n", "number,name\n1,sky\n", "value,name\n1,sky\n1,cow\n", "value,name\n"]
)
def test_class_tables_that_cannot_be_used_are_refused(folder: Path, text: str) -> None:
    (folder / "classes.csv").write_text(text)
    with pytest.raises(DataError, match="mend it"):
        read_semantic(folder)


def test_missing_tables_and_paths_outside_are_named(folder: Path) -> None:
    (folder / "labels.csv").write_text("path,mask\na.png,../m.png\n")
    with pytest.raises(DataError, match="outside"):
        read_semantic(folder)
    (folder / "classes.csv").unlink()
    (folder / "labels.csv").write_text("path,mask\na.png,m.png\n")
    with pytest.raises(UsageError, match=r"classes\.csv"):
        read_semantic(folder)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "void", "classes", "items"), [("msrc_small", (0, 5, 8), 21, 70), ("camvid_small", (11,), 11, 36)]
)
def test_development_sets(data_root: Path, name: str, void: tuple[int, ...], classes: int, items: int) -> None:
    data = read_semantic(data_root / name, void)
    table = data.split("val")
    assert (len(data.classes), len(table)) == (classes, items)
    mask = table.columns["mask"].values[0]
    assert mask.shape == table.items[0].size[::-1]
    assert set(np.unique(mask)) <= {*range(classes), IGNORE}


def test_more_than_255_classes_have_maps_of_sixteen_bits(folder: Path) -> None:
    values = np.array([[1, 255, 256], [300, 301, 0]], dtype=np.uint16)
    Image.fromarray(values).save(folder / "m.png")
    (folder / "classes.csv").write_text("value,name\n" + "".join(f"{k},class {k}\n" for k in range(1, 301)))
    data = read_semantic(folder, void=(1,))
    mask = data.split("val").columns["mask"].values[0]
    assert (len(data.classes), mask.dtype) == (299, np.uint16)
    assert mask.tolist() == [[65535, 253, 254], [298, 65535, 65535]]
    (folder / "classes.csv").write_text("value,name\n" + "".join(f"{k},class {k}\n" for k in range(65536)))
    with pytest.raises(DataError, match="1 to 65,535 classes"):
        read_semantic(folder)


def test_things_synonyms_and_void_are_columns(folder: Path) -> None:
    text = "value,name,void,thing,synonyms\n7,sky,,0,\n0,nothing,1,,\n2,cow,,1,cattle| ox\n"
    (folder / "classes.csv").write_text(text)
    data = read_semantic(folder)
    assert data.classes == ("cow", "sky")
    assert data.things == (True, False)
    assert data.words == (("cow", "cattle", "ox"), ("sky",))
