from __future__ import annotations

import pytest
import torch
from torch import nn

from diptych.core import MissingHook
from diptych.features.depth_views import CloudEncoder
from diptych.features.derived_space import DerivedSpace
from tests.support.visual_backbone import VisualBackbone


def test_a_derived_space_is_its_base_but_for_the_image_encoder() -> None:
    base = VisualBackbone()
    clouds = CloudEncoder(base.image)
    space = DerivedSpace(base, clouds, suffix="clouds6")
    assert space.image is clouds
    assert space.text is base.text
    assert space.spec.name == f"{base.spec.name}+clouds6"
    assert space.fingerprint != base.fingerprint
    assert space.module() is base.module()
    assert torch.equal(space.scale()[0], base.scale()[0])
    assert space.score == base.score
    assert space.tower("text") is base.tower("text")
    with pytest.raises(MissingHook, match="a cloud takes several passes"):
        space.tower("image")
    trained = nn.Linear(2, 2)
    assert DerivedSpace(base, clouds, module=trained).module() is trained
