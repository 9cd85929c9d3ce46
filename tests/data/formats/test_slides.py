from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import UnreadableItem, UsageError
from diptych.data.formats.slides import SlideStream, open_slides
from diptych.data.load import open_stream
from diptych.data.slides import Grid
from tests.support.slides import SIDE, write_slide


def test_slides_stream_tile_by_tile_and_one_that_is_damaged_is_one_error(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif")
    (tmp_path / "b.svs").write_bytes(b"no slide")
    write_slide(tmp_path / "c.tiff")
    assert isinstance(open_stream(str(tmp_path)), SlideStream)
    stream = open_slides(tmp_path, Grid(SIDE, 32))
    found = list(stream.outcomes())
    assert len(found) == 24 + 1 + 24
    assert isinstance(found[24][1], UnreadableItem)
    positions = [position for position, _ in found]
    assert [p for part in stream.parts(2) for p, _ in part.outcomes()] == positions
    assert [p for p, _ in stream.seek(positions[30]).outcomes()] == positions[30:]
    tile = found[3][1]
    assert not isinstance(tile, UnreadableItem)
    assert tile.image().size == (32, 32)
    with pytest.raises(UnreadableItem, match=r"b\.svs"):
        list(stream)


def test_a_folder_without_slides(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There are no slides below"):
        open_slides(tmp_path)
