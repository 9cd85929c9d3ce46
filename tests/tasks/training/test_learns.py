"""Which parameters a training may change, and which systems are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.backbones.sources.load import load
from diptych.core import MissingHook, UsageError
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.diva import DIVA
from diptych.methods.pretrain.rs_m_clip import RSMCLIP
from diptych.tasks.training.learns import learns, need_towers
from tests.support.small_clip import training_folder


def test_parts_name_towers(tmp_path: Path) -> None:
    clip = load(f"local:{training_folder(tmp_path, 4, 4) / 'clip'}")
    names = [n for n, _ in clip.module().named_parameters()]
    image, text = learns(clip, "image"), learns(clip, "text")
    assert all(image(n) != text(n) for n in names)
    assert all(image(n) == n.startswith("visual") for n in names)
    with pytest.raises(UsageError, match="no part 'ears'"):
        learns(clip, "ears")


def test_what_works_inside_a_tower_is_not_given_heads_alone() -> None:
    with pytest.raises(MissingHook, match=r"rs-m-clip works inside tower:image, .* give parts all"):
        need_towers(RSMCLIP(), "heads")
    with pytest.raises(MissingHook, match="diva trains the image tower alone: give parts image"):
        need_towers(DIVA(), "text")
    for method, parts in ((RSMCLIP(), "all"), (RSMCLIP(), "text"), (DIVA(), "image"), (CLIPLoss(), "heads")):
        need_towers(method, parts)
