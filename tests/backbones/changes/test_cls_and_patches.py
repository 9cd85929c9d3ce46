"""CLS and patches as one vector: against a loop, by the cut tower, and after saving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.backbones.changes.apply import changed
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.core import MissingHook
from tests.support.small_clip import small_clip
from tests.support.visual_backbone import VisualBackbone
from tests.train.test_pair import Squares, small

NAME = "cls-and-patches"


def test_the_vector_is_the_sum_of_both_and_the_cut_tower_agrees() -> None:
    plain = small()
    space = changed(plain, NAME)
    x = plain.image.inputs([Squares(3)[i] for i in range(3)])
    with torch.no_grad():
        tower = plain.tower("image")
        tokens = tower.project(tower.norm(tower.blocks(tower.start(x)).h)).numpy()
        v = space.encoders["image"].encode(x)
        for b in range(3):
            by_hand = tokens[b, 0] + sum(tokens[b, p] for p in range(1, 5)) / 4
            torch.testing.assert_close(v[b], torch.from_numpy(by_hand), rtol=1e-5, atol=1e-6)
        own = space.tower("image")
        torch.testing.assert_close(own.project(own.pooled(own.blocks(own.start(x)))), v, rtol=1e-5, atol=1e-6)
    assert type(plain.module().visual).__name__ == "VisionTransformer"
    assert list(space.module().state_dict()) == list(plain.module().state_dict())


def test_it_has_a_fingerprint_of_its_own_and_a_saved_folder_repeats_it(tmp_path: Path) -> None:
    plain = small_clip(tmp_path / "clip")
    space = changed(plain, NAME)
    assert space.encoders["image"].fingerprint != plain.image.fingerprint
    save(space, tmp_path / "model")
    again = load(f"local:{tmp_path / 'model'}")
    assert again.image.fingerprint == space.encoders["image"].fingerprint
    x = plain.image.inputs([Squares(1)[0]])
    assert torch.equal(again.image.encode(x), space.encoders["image"].encode(x))


def test_towers_without_cls_are_refused() -> None:
    with pytest.raises(MissingHook, match="no CLS token"):
        changed(changed(small(), NAME), NAME)
    with pytest.raises(MissingHook, match="leave the pooling as it is"):
        changed(VisualBackbone(), NAME)
