"""The last block of an image tower computes one token, gives the same vectors, and leaves the encoder as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from diptych.backbones.engines.copies import in_bf16, module_of, only_pooled
from tests.support.small_clip import small_clip


@pytest.mark.parametrize("family", ["vit", "vit-quickgelu", "vit-custom-text"])
def test_one_token_of_the_last_block_gives_the_same_vectors(
    family: str, tmp_path: Path, photos: list[Image.Image]
) -> None:
    whole = small_clip(tmp_path / "clip", family).image
    pooled, x = only_pooled(whole), whole.inputs(photos)
    rows: dict[str, int] = {}
    for name, encoder in (("whole", whole), ("pooled", pooled)):
        module: Any = module_of(encoder)[1]
        block = module.visual.transformer.resblocks[-1]
        last = [m for m in block.modules() if isinstance(m, torch.nn.Linear)][-1]
        last.register_forward_pre_hook(lambda _, given, name=name: rows.update({name: given[0].shape[1]}))
    with torch.no_grad():
        torch.testing.assert_close(pooled.encode(x), whole.encode(x), rtol=0, atol=2e-6)
    assert rows == {"whole": 5, "pooled": 1}


def test_the_weights_are_shared_and_the_tower_stays_whole(tmp_path: Path, photos: list[Image.Image]) -> None:
    whole = small_clip(tmp_path / "clip").image
    own, other = (dict(module_of(e)[1].visual.named_parameters()) for e in (whole, only_pooled(whole)))  # type: ignore[union-attr]
    assert {p.data_ptr() for p in own.values()} == {p.data_ptr() for p in other.values()}
    half = in_bf16(only_pooled(whole))(whole.inputs(photos))
    assert len(half) == len(photos)
    assert next(iter(own.values())).dtype == torch.float32


@pytest.mark.parametrize("family", ["resnet", "convnext", "siglip", "eva", "coca"])
def test_towers_that_pool_otherwise_stay_as_they_are(family: str, tmp_path: Path) -> None:
    image = small_clip(tmp_path / "clip", family).image
    assert only_pooled(image) is image


def test_texts_stay_as_they_are(tmp_path: Path, photos: list[Image.Image]) -> None:
    text = small_clip(tmp_path / "clip").text
    ids = text.inputs(["a dog", "a photo of two dogs"])
    with torch.no_grad():
        assert torch.equal(only_pooled(text).encode(ids), text.encode(ids))
