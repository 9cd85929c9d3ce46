from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diptych.data.region_items import Region
from diptych.features.whole_and_cells import whole_and_cells
from diptych.nn.dense.prompter import Prompter
from diptych.nn.dense.region_encoder import PromptedEncoder, region_space
from tests.support.small_clip import small_clip


def test_a_prompter_is_told_each_box_of_its_own_picture(tmp_path: Path) -> None:
    space = small_clip(tmp_path / "clip")
    pictures = [Image.new("RGB", (40, 20), colour) for colour in ("red", "blue")]
    cells = torch.cat([whole_and_cells(space, space.image.inputs([p]))[1] for p in pictures])
    with torch.random.fork_rng():
        prompter = Prompter(cells.shape[1], space.spec.dim).eval()
    encoder = region_space(space, prompter).image
    assert isinstance(encoder, PromptedEncoder)
    middle = np.array([10.0, 0.0, 20.0, 10.0], np.float32)  # of the square that the tower sees
    with torch.no_grad():
        found = encoder.encode(encoder.inputs([Region(pictures[1], middle), pictures[0]]))
        boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]])
        expected = prompter.boxes(cells, boxes, torch.tensor([1, 0]))
    torch.testing.assert_close(found, expected)


def test_the_fingerprint_is_that_of_tower_and_prompter(tmp_path: Path) -> None:
    space = small_clip(tmp_path / "clip")
    with torch.random.fork_rng():
        one, other = (Prompter(32, space.spec.dim) for _ in range(2))
    prints = {PromptedEncoder(space, p).fingerprint for p in (one, other)}
    assert len(prints | {space.image.fingerprint}) == 3
    assert region_space(space, None) is space
