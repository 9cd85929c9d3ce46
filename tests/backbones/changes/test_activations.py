"""Another activation in each tower: equal to open_clip's own model of that activation, tower by tower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from diptych.backbones.changes.apply import changed
from diptych.core import MissingHook, UsageError
from tests.support.colours import ColourBackbone
from tests.support.small_clip import small_clip
from tests.train.test_pair import Squares


def test_each_tower_has_its_own(tmp_path: Path) -> None:
    clip = small_clip(tmp_path / "clip")
    both = changed(clip, "activations", image="gelu", text="quick_gelu")
    assert (clip.spec.activation, both.spec.activation) == ("gelu", "gelu+quick_gelu")
    x, ids = clip.image.inputs([Squares(3)[i] for i in range(3)]), clip.text.inputs(["a red square", "blue"])
    with torch.no_grad():
        assert torch.equal(both.image.encode(x), clip.image.encode(x))
        one = clip.text.encode(ids)
        assert not torch.allclose(both.text.encode(ids), one, atol=1e-6)
        for block in clip.module().transformer.resblocks:
            block.mlp.gelu = Sigmoid()
        assert torch.allclose(both.text.encode(ids), clip.text.encode(ids), atol=1e-6)


class Sigmoid(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (1 + torch.exp(-1.702 * x))


def test_what_has_no_such_activation(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not 'relu'"):
        changed(small_clip(tmp_path / "clip"), "activations", image="gelu", text="relu")
    with pytest.raises(MissingHook):
        changed(ColourBackbone(), "activations", image="gelu", text="gelu")
