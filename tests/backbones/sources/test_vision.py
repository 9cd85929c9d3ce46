from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from diptych.backbones.sources.vision import load_vision
from diptych.core import MissingHook, NotAvailable, UsageError
from tests.support.sam import small_sam

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


@torch.no_grad()
def test_a_timm_vit_is_a_space_and_its_vectors_are_timms() -> None:
    space = load_vision("timm:vit_tiny_patch16_224?weights=random&seed=2")
    encoder = space.encoders["image"]
    x = encoder.inputs([PHOTO])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    model.load_state_dict(space.module().state_dict())
    torch.testing.assert_close(encoder.encode(x), model(x), atol=1e-4, rtol=1e-4)
    data = timm.data.resolve_model_data_config(model)
    expected = timm.data.create_transform(**data, is_training=False)(PHOTO)
    assert (x[0] - expected).abs().max() < 0.05
    assert encoder.encode(encoder.inputs([PHOTO], 96)).shape == (1, 192)
    assert space.fingerprint == load_vision("timm:vit_tiny_patch16_224?weights=random&seed=2").fingerprint
    assert space.fingerprint != load_vision("timm:vit_tiny_patch16_224?weights=random").fingerprint
    assert space.rebuild(space.module(), space.spec).fingerprint == space.fingerprint


@torch.no_grad()
def test_sam_is_a_teacher_by_name(tmp_path: Path) -> None:
    small_sam().save_pretrained(tmp_path / "sam")
    space = load_vision(f"sam:{tmp_path / 'sam'}")
    assert space.tower("image").depth == 3
    assert space.encoders["image"].encode(space.encoders["image"].inputs([PHOTO])).shape == (1, 32)


def test_a_backbone_is_a_space_with_an_image_encoder() -> None:
    assert "image" in load_vision("tiny").encoders


def test_what_cannot_be_loaded_is_named() -> None:
    with pytest.raises(UsageError, match="vit_tiny"):
        load_vision("timm:vit_nothing")
    with pytest.raises(NotAvailable, match="weights=random"):
        load_vision("timm:vit_tiny_patch16_224", offline=True)
    with pytest.raises(MissingHook, match="images alone"):
        load_vision("timm:vit_tiny_patch16_224?weights=random").scale()
