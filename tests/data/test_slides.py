from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import MissingExtra, UnreadableItem, UsageError
from diptych.data.slides import Grid, Slide, SlideTiles, otsu, saturation, tissue
from tests.support.slides import SIDE, write_slide

GRID = Grid(side=SIDE, size=SIDE)


def test_tiles_are_squares_of_tissue_and_equal_the_pixels(tmp_path: Path) -> None:
    pixels = write_slide(tmp_path / "s.tif")
    tiles = SlideTiles(Slide(str(tmp_path / "s.tif")), GRID)
    expected = [(x * SIDE, y * SIDE) for y in range(1, 5) for x in range(1, 7)]
    assert tiles.places == expected
    assert len(tiles) == 24
    for i in (0, 7, 23):
        x, y = tiles.places[i]
        assert (np.asarray(tiles[i]) == pixels[y : y + SIDE, x : x + SIDE]).all()
    assert tiles.name(7) == f"{tmp_path / 's.tif'}@{expected[7][0]},{expected[7][1]}"
    assert len({tiles.key(i) for i in range(24)}) == 24
    assert tiles.key(3) == SlideTiles(pickle.loads(pickle.dumps(tiles.slide)), GRID).key(3)
    assert tiles.tile(0).cut["slide"] == tiles.slide.path


def test_a_smaller_tile_is_read_from_a_smaller_level(tmp_path: Path) -> None:
    pixels = write_slide(tmp_path / "s.tif")
    slide = Slide(str(tmp_path / "s.tif"))
    small = np.asarray(slide.region(SIDE, SIDE, 2 * SIDE, SIDE, 4.0))
    assert small.shape == (SIDE // 4, SIDE // 2, 3)
    assert (small == pixels[SIDE : 2 * SIDE : 4, SIDE : 3 * SIDE : 4]).all()
    assert slide.mask().shape == (6 * SIDE // 32, 8 * SIDE // 32)
    assert SlideTiles(slide, Grid(side=2 * SIDE, size=32))[0].size == (32, 32)


def test_a_share_of_tissue_is_asked_for(tmp_path: Path) -> None:
    write_slide(tmp_path / "s.tif")
    slide = Slide(str(tmp_path / "s.tif"))
    # 2 x 2 squares at the corner hold one square of tissue, a quarter
    assert (0, 0) not in slide.places(Grid(2 * SIDE, 32, tissue=0.3))
    assert (0, 0) in slide.places(Grid(2 * SIDE, 32, tissue=0.2))


def test_what_is_no_slide_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slide(tmp_path / "s.tif")
    (tmp_path / "bad.svs").write_bytes(b"no slide")
    with pytest.raises(UnreadableItem, match=r"bad\.svs"):
        _ = Slide(str(tmp_path / "bad.svs")).size
    with pytest.raises(UnreadableItem, match="cannot be read"):
        _ = Slide(str(tmp_path / "absent.svs")).size
    with pytest.raises(UsageError, match=r"tissue in \[0, 1\), not 672, 336, 1"):
        Grid(tissue=1)
    monkeypatch.setitem(sys.modules, "tiffslide", None)
    monkeypatch.setattr("diptych.core.errors.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="Reading slides needs tiffslide"):
        _ = Slide(str(tmp_path / "s.tif")).size


def test_findings_are_the_lines_beside(tmp_path: Path) -> None:
    assert Slide(str(tmp_path / "s.tif")).findings() == ()
    (tmp_path / "s.txt").write_text("necrosis\n\n mitoses \n")
    assert Slide(str(tmp_path / "s.tif")).findings() == ("necrosis", "mitoses")


def test_a_mask_is_read_in_bands_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slide(tmp_path / "s.tif")
    whole, read = Slide(str(tmp_path / "s.tif")).mask(), []
    real = Slide.region

    def region(self: Slide, x: int, y: int, width: int, height: int, scale: float) -> Image.Image:
        read.append((width, height))
        return real(self, x, y, width, height, scale)

    monkeypatch.setattr("diptych.data.slides._BAND", 4096)
    monkeypatch.setattr(Slide, "region", region)
    assert (Slide(str(tmp_path / "s.tif")).mask() == whole).all()
    assert len(read) > 1
    assert sum(height for _, height in read) == 6 * SIDE


def test_otsu_equals_all_thresholds_tried() -> None:
    rng = np.random.default_rng(0)
    values = np.clip(np.concatenate([rng.normal(60, 10, 500), rng.normal(150, 20, 300)]), 0, 255).astype(np.uint8)

    def between(t: int) -> float:
        low, high = values[values <= t].astype(float), values[values > t].astype(float)
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2 if len(low) and len(high) else 0.0

    best = max(between(t) for t in range(256))
    assert between(otsu(values)) == best
    assert otsu(np.full(9, 7, np.uint8)) == 0


def test_saturation_and_mask() -> None:
    pixels = np.array([[[250, 250, 250], [200, 100, 180], [0, 0, 0]]], dtype=np.uint8)
    assert saturation(pixels).tolist() == [[0, 128, 0]]
    assert tissue(pixels).tolist() == [[False, True, False]]
    glass = np.full((4, 4, 3), 245, np.uint8)
    glass[0, 0] = (245, 240, 238)
    assert not tissue(glass).any()  # a blank slide has no tissue, whatever its noise
    assert tissue(np.full((4, 4, 3), (200, 90, 160), np.uint8)).all()  # and one that is full has no glass
