from __future__ import annotations

import numpy as np
import torch

from diptych.tasks.pages.sheets import picture_of, rows_sheet, shown


def test_rows_of_pictures_of_any_sizes_stand_apart_on_white() -> None:
    small, wide = torch.zeros(3, 4, 4), torch.full((3, 6, 12), 0.5)
    sheet = np.asarray(rows_sheet([[small, wide], [small]], side=8, gap=2))
    assert sheet.shape == (8 + 2 + 8, 8 + 2 + 12, 3)
    assert (sheet[:8, :8] == 0).all()
    assert (sheet[:6, 10:] == 128).all()
    assert (sheet[:8, 8:10] == 255).all()
    assert (sheet[8:10] == 255).all()


def test_small_pictures_grow_without_smoothing() -> None:
    t = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(0))
    assert picture_of(t).size == (3, 3)
    assert (np.asarray(shown(t, 7))[1::3, 1::3] == np.asarray(picture_of(t))).all()
