"""Clips in an index: taken in as the mean of their frames, found by words and by a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, Run, UsageError
from diptych.data.modalities import CLIPS
from diptych.features.clips import ClipSpace
from diptych.tasks.search.ask import search
from diptych.tasks.search.index import index
from diptych.tasks.search.spaces import sample_records
from diptych.tasks.search.term import Term
from tests.support.colours import ColourBackbone, coloured


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for colour in ("red", "green", "blue"):
        for number in range(2):
            for frame in range(3):
                coloured(tmp_path / "clips" / colour / f"clip{number}" / f"{frame}.png", colour, 10 * number + frame)
    return tmp_path / "clips"


def test_records_are_clips_with_their_folder_as_label(clips: Path) -> None:
    records = sample_records(str(clips), CLIPS, frames=2)
    assert len(records) == 6
    assert {f["label"] for f in records.facts} == {"red", "green", "blue"}
    assert all(Path(n).is_absolute() for n in records.names)
    assert len(records.images[0]) == 2
    assert records.texts == (None,) * 6


def test_an_index_of_clips_answers_words_and_pictures(clips: Path, tmp_path: Path) -> None:
    space, run, out = ClipSpace(ColourBackbone(), 2), Run(workers=1), tmp_path / "index"
    report = index(sample_records(str(clips), CLIPS, frames=2), space, run, out)
    assert (report.entries, report.added) == (6, 6)
    again = index(sample_records(str(clips), CLIPS, frames=2), space, run, out)
    assert (again.entries, again.added) == (6, 0)
    asked = coloured(tmp_path / "asked.png", "blue", 99)
    for term, label in (("green", "green"), (str(asked or tmp_path / "asked.png"), "blue")):
        answer = search(out, [Term(term)], space, run, k=2)
        assert [f.entry.facts["label"] for f in answer.results] == [label, label]
    only = search(out, [Term("green")], space, run, k=9, where=["label=red"])
    assert [f.entry.facts["label"] for f in only.results] == ["red", "red"]


def test_photos_and_other_numbers_of_frames_are_refused(clips: Path, tmp_path: Path) -> None:
    run, out = Run(workers=1), tmp_path / "index"
    index(sample_records(str(clips), CLIPS, frames=2), ClipSpace(ColourBackbone(), 2), run, out)
    for other in (ColourBackbone(), ClipSpace(ColourBackbone(), 3)):
        with pytest.raises(UsageError, match="was indexed with"):
            search(out, [Term("red")], other, run)


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No clips"):
        sample_records(str(tmp_path), CLIPS, frames=2)
    with pytest.raises(UsageError, match="no file or folder"):
        sample_records(str(tmp_path / "gone"), CLIPS, frames=2)
