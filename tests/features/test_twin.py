"""A copy of a backbone with weights of its own."""

from __future__ import annotations

import pytest
import torch

from diptych.core import MissingHook
from diptych.features.twin import twin_of
from tests.support.backbone import SmallBackbone
from tests.support.small_clip import small_clip


def test_training_a_twin_leaves_the_backbone_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    backbone = small_clip(tmp_path_factory.mktemp("clip") / "vit")
    twin, before = twin_of(backbone), {n: t.clone() for n, t in backbone.module().state_dict().items()}
    with torch.no_grad():
        for p in twin.module().parameters():
            p.add_(1.0)
    assert all(torch.equal(t, before[n]) for n, t in backbone.module().state_dict().items())
    assert not torch.equal(next(twin.module().parameters()), next(backbone.module().parameters()))


def test_a_backbone_that_cannot_be_rebuilt_is_refused() -> None:
    with pytest.raises(MissingHook):
        twin_of(SmallBackbone())
