from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.core import DataError
from diptych.data.formats.winoground import is_winoground, read_winoground
from tests.support.pictures import picture


def winoground_folder(root: Path, pairs: int = 2, **change: object) -> Path:
    """A folder in the published layout."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(pairs):
        for side in (0, 1):
            picture((2 * i + side) % 4, i).save(root / "images" / f"ex_{i}_img_{side}.png")
        row = {"id": i, "image_0": f"ex_{i}_img_0", "image_1": f"ex_{i}_img_1", "caption_0": f"a cat {i} a dog"}
        row |= {"caption_1": f"a dog {i} a cat", "tag": "Noun", "collapsed_tag": ("Object", "Relation")[i % 2]}
        lines.append(json.dumps(row | change))
    (root / "examples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("below", ["", "data"])
def test_a_line_is_two_pictures_with_their_captions(tmp_path: Path, below: str) -> None:
    winoground_folder(tmp_path / below)
    assert is_winoground(tmp_path)
    table = read_winoground(tmp_path)
    assert table.columns["group"].values == ("pair 1", "pair 1", "pair 2", "pair 2")
    assert table.columns["captions"].values[:2] == (("a cat 0 a dog",), ("a dog 0 a cat",))
    assert table.columns["pattern"].values == ("Object", "Object", "Relation", "Relation")
    assert table.items.name(3).endswith("ex_1_img_1.png")
    assert table.items[3].size == (12, 12)


def test_faults_get_a_sentence(tmp_path: Path) -> None:
    assert not is_winoground(tmp_path)
    with pytest.raises(DataError, match=r"no examples\.jsonl beside 'images'"):
        read_winoground(tmp_path)
    with pytest.raises(DataError, match="leads outside"):
        read_winoground(winoground_folder(tmp_path, image_1="../../elsewhere"))
    with pytest.raises(DataError, match="caption_0"):
        read_winoground(winoground_folder(tmp_path, caption_0=None))
    (tmp_path / "examples.jsonl").write_text('{"image_0": "a", "image_1": "b", "caption_0": "c"}')
    with pytest.raises(DataError, match="has no 'caption_1'"):
        read_winoground(tmp_path)
