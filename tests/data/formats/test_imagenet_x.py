from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.core import DataError
from diptych.data.formats.imagenet_x import FACTORS, is_imagenet_x
from diptych.data.load import open_data
from tests.support.image_files import photo


def annotations(folder: Path, *rows: tuple[str, object, tuple[str, ...]], name: str = "multi") -> Path:
    """The published file: one line per picture, with its class and factors."""
    lines = [
        {"file_name": file, "class": k, **{f: int(f in own) for f in FACTORS}, "justification": "dark", "one_word": ""}
        for file, k, own in rows
    ]
    path = folder / f"imagenet_x_val_{name}_factor.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_a_picture_is_an_item_of_each_of_its_factors(tmp_path: Path) -> None:
    photo(tmp_path / "val" / "n01440764" / "ILSVRC2012_val_00000293.JPEG")
    photo(tmp_path / "ILSVRC2012_val_00000002.JPEG")
    path = annotations(
        tmp_path,
        ("ILSVRC2012_val_00000293.JPEG", 0, ("darker", "pose")),
        ("ILSVRC2012_val_00000002.JPEG", 292, ("color",)),
        ("ILSVRC2012_val_00000002.JPEG", 292, ()),
        ("ILSVRC2012_val_00000003.JPEG", 1, ("style",)),
    )
    data = open_data(path, need="groups")
    table = data.split("test")
    assert (len(data.classes), data.classes[0], data.classes[292]) == (1000, "tench", "tiger")
    assert list(table.columns["group"].values) == ["pose", "darker", "color"]
    assert table.labels().tolist() == [0, 0, 292]
    assert table.items.name(0).endswith("n01440764/ILSVRC2012_val_00000293.JPEG")


def test_other_files_and_faults_are_told_apart(tmp_path: Path) -> None:
    other = tmp_path / "own.jsonl"
    other.write_text('{"file_name": "a.png", "class": 0}')
    assert not is_imagenet_x(other)
    with pytest.raises(DataError, match="None of the 1 pictures"):
        open_data(annotations(tmp_path, ("a.JPEG", 0, ("pose",))), need="groups")
    photo(tmp_path / "a.JPEG")
    with pytest.raises(DataError, match=r"Row 1 .* the class '1000'"):
        open_data(annotations(tmp_path, ("a.JPEG", 1000, ("pose",))), need="groups")
