from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError
from diptych.data.formats.mmvp import IMAGES, PATTERNS, QUESTIONED, is_mmvp, is_mmvp_vlm, read_mmvp, read_mmvp_vlm
from tests.support.pictures import picture


def mmvp_folder(root: Path, pairs: int = 4) -> Path:
    """A folder in the published layout, with two patterns."""
    rows = ["Question ID,Type,Statement"]
    for i in range(2 * pairs):
        pattern = PATTERNS[(i // 2) % 2]
        place = root / IMAGES / pattern
        place.mkdir(parents=True, exist_ok=True)
        picture(i % 4, i).save(place / f"{i + 1}.jpg")
        rows.append(f'{i + 1},{pattern},"a picture, number {i + 1}"')
    (root / "Questions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def test_consecutive_rows_are_pairs_with_the_pattern_of_their_row(tmp_path: Path) -> None:
    table = read_mmvp_vlm(mmvp_folder(tmp_path))
    assert len(table) == 8
    assert table.columns["group"].values == tuple(f"pair {i // 2 + 1}" for i in range(8))
    assert table.columns["pattern"].values == tuple(PATTERNS[(i // 2) % 2] for i in range(8))
    assert table.columns["captions"].values[2] == ("a picture, number 3",)
    assert table.items.name(2).endswith("3.jpg")
    assert table.items[0].size == (12, 12)


def test_other_folders_are_told_apart_and_faults_get_a_sentence(tmp_path: Path) -> None:
    assert not is_mmvp_vlm(tmp_path)
    with pytest.raises(DataError, match=r"has no Questions.csv beside"):
        read_mmvp_vlm(tmp_path)
    folder = mmvp_folder(tmp_path / "set")
    assert is_mmvp_vlm(folder)
    listing = folder / "Questions.csv"
    rows = listing.read_text().splitlines()
    for wrong, said in (
        (rows[:-1], "7 rows"),
        (rows[:1], "0 rows"),
        ([rows[0], rows[1], rows[3], *rows[4:], rows[2]], "pairs 1"),
        ([*rows[:-1], f"8,{PATTERNS[1]},"], "Row 9"),
        ([*rows[:-1], "../../../8,x,y"], "pairs 7|outside"),
    ):
        listing.write_text("\n".join(wrong))
        with pytest.raises(DataError, match=said):
            read_mmvp_vlm(folder)


def test_questions_with_their_right_answers_are_statements(tmp_path: Path) -> None:
    (tmp_path / QUESTIONED).mkdir()
    for i in (1, 2):
        picture(i, i).save(tmp_path / QUESTIONED / f"{i}.jpg")
    head, row = "Index,Question,Options,Correct Answer", "{},Is the door open?,(a) Wide open (b) No,({})"
    listing = tmp_path / "Questions.csv"
    listing.write_text("\n".join([head, row.format(1, "a"), row.format(2, "B")]))
    assert is_mmvp(tmp_path)
    assert not is_mmvp_vlm(tmp_path)
    table = read_mmvp(tmp_path)
    assert table.columns["captions"].values == (("Is the door open? Wide open",), ("Is the door open? No",))
    assert table.columns["group"].values == ("pair 1", "pair 1")
    assert table.items.name(1).endswith("2.jpg")
    listing.write_text("\n".join([head, row.format(1, "a"), row.format(2, "c")]))
    with pytest.raises(DataError, match=r"Row 3 .* none of its options"):
        read_mmvp(tmp_path)
    with pytest.raises(DataError, match="beside 'MMVP Images'"):
        read_mmvp(tmp_path / "absent")
