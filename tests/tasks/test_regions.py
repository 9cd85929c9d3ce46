from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from diptych.backbones.sources.save import save
from diptych.core import UsageError
from diptych.data.load import open_data
from diptych.features.derived_space import DerivedSpace
from diptych.nn.dense.prompter import Prompter
from diptych.tasks.regions import RegionSource
from tests.support.small_clip import small_clip


def test_a_model_with_a_prompter_is_told_boxes_and_another_sees_crops(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 20)).save(photos / "a.png")
    (photos / "boxes.csv").write_text("image,x,y,w,h,phrase\na.png,0,0,20,20,left\n")
    space = small_clip(tmp_path / "clip")
    with torch.random.fork_rng():
        save(space, tmp_path / "model", {"prompter": Prompter(32, space.spec.dim)})
    data = open_data(photos)
    told = RegionSource.open(data, photos / "boxes.csv", f"local:{tmp_path / 'model'}")
    assert told.regions.cut is False
    assert told.crops[0].size == (20, 20)
    assert isinstance(told.space(space), DerivedSpace)
    plain = RegionSource.open(data, photos / "boxes.csv", "lite")
    assert plain.regions.cut is True
    assert plain.space(space) is space
    with pytest.raises(UsageError, match="leave out draft"):
        RegionSource.open(data, photos / "boxes.csv", "lite", decode="draft")
