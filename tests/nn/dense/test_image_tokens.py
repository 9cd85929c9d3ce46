from __future__ import annotations

from pathlib import Path

import torch

from diptych.core import Run
from diptych.nn.dense.image_regions import tokens_and_attention
from diptych.nn.dense.image_tokens import image_tokens
from tests.support.pictures import Pictures, picture
from tests.support.small_clip import small_clip


def test_tokens_of_images_equal_keys_and_the_pooled_vector(tmp_path: Path) -> None:
    clip, run = small_clip(tmp_path / "vit"), Run(batch=2)
    one, two, three = (picture(i, i) for i in range(3))
    images = Pictures((one, two, one, three))
    patches = image_tokens(clip, images, run, "patches")
    with torch.no_grad():
        expected = tokens_and_attention(clip, clip.image.inputs([one, two, three]))[1]
    torch.testing.assert_close(torch.stack(patches), expected[[0, 1, 0, 2]], rtol=1e-4, atol=1e-5)
    assert patches[0] is patches[2]
    pooled = image_tokens(clip, images, run, "pooled")
    assert pooled[0].shape == (1, patches[0].shape[1])
    torch.testing.assert_close(pooled[1][0], patches[1][0], rtol=1e-4, atol=1e-5)  # CLS comes first
