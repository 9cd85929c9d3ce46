from __future__ import annotations

import pytest
import torch

from diptych.core import MissingHook
from diptych.testing.backbones import DIM, DeepBackbone, SmallBackbone, VisualBackbone, backbone_for, small_clip
from tests.support.pictures import picture

KINDS = {
    ("image", "text"): SmallBackbone,
    ("image",): SmallBackbone,
    ("text", "tower:text"): DeepBackbone,
    ("tower:text", "tower:image"): VisualBackbone,
    ("image", "rebuild"): VisualBackbone,
}


@pytest.mark.parametrize("hooks", KINDS)
def test_a_backbone_has_the_hooks_that_are_wanted_and_no_dense_maps(hooks: tuple[str, ...]) -> None:
    backbone = backbone_for(hooks)
    assert type(backbone) is KINDS[hooks]
    for hook in hooks:
        if hook.startswith("tower:"):
            assert backbone.tower(hook.removeprefix("tower:")).depth == 2
    with pytest.raises(MissingHook):
        backbone.dense()


@pytest.mark.parametrize("make", [SmallBackbone, DeepBackbone, VisualBackbone])
def test_embeddings_are_those_of_the_seed_and_tell_items_apart(make: type) -> None:
    one, again, other = make(0), make(0), make(1)
    pictures, texts = [picture(0, 0), picture(1, 1)], ["a red fox", "two oak trees"]
    with torch.no_grad():
        vectors = [[e.encode(e.inputs(x)) for e, x in ((b.image, pictures), (b.text, texts))] for b in (one, again)]
        moved = other.image.encode(other.image.inputs(pictures))
    for first, second in zip(*vectors, strict=True):
        assert torch.equal(first, second)
        assert first.shape == (2, DIM)
        assert not torch.allclose(first[0], first[1])
    assert not torch.allclose(moved, vectors[0][0])


def test_a_sigmoid_has_a_bias_and_a_clip_every_hook() -> None:
    assert SmallBackbone(score="sigmoid").scale()[1].item() == -10
    clip = backbone_for(("dense",))
    assert clip.fingerprint == small_clip().fingerprint != small_clip(1).fingerprint
    assert clip.dense().strides
    assert clip.tower("image").depth == clip.tower("text").depth == 2
