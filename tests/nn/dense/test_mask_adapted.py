from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import Backbone, DataError
from diptych.nn.dense.mask_adapted import EmbeddingMap, MaskAdapted, MaskedEncoder
from diptych.nn.dense.masked_crops import MaskedCrop
from tests.support.small_clip import small_clip

CROPS = [
    MaskedCrop(torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(k)), torch.ones(20, 30, dtype=torch.bool))
    for k in range(2)
]


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder: Path = tmp_path_factory.mktemp("clip")
    return small_clip(folder / "vit")


def test_the_map_equals_numpy_and_begins_as_the_identity() -> None:
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    learnt = EmbeddingMap(6, 2)
    unit = z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True)
    np.testing.assert_allclose(learnt(z).detach().numpy(), unit, rtol=1e-5)
    with torch.no_grad():
        learnt.up.normal_()
    b, a = learnt.up.detach().numpy(), learnt.down.detach().numpy()
    np.testing.assert_allclose(learnt(z).detach().numpy(), unit + (b @ (a @ unit.T)).T, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_nothing_learnt_is_the_backbone(vit: Backbone) -> None:
    encoder = MaskedEncoder.of(vit, {})
    x = encoder.inputs(CROPS)
    assert torch.equal(encoder.encode(x), vit.image.encode(x["pixels"]))


@torch.no_grad()
def test_fingerprints_follow_what_was_learnt(vit: Backbone) -> None:
    width = vit.tower("image").width
    prompts = [torch.randn(2, 4, width, generator=torch.Generator().manual_seed(k)) for k in (0, 0, 1)]
    one, same, other = (MaskedEncoder.of(vit, {"prompts": p}) for p in prompts)
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.fingerprint != MaskedEncoder.of(vit, {}).fingerprint
    assert one.fingerprint != MaskedEncoder.of(vit, {"prompts": prompts[0]}, antialias=False).fingerprint
    hidden = [MaskedCrop(CROPS[0].pixels, torch.arange(30).expand(20, 30) < 15)]
    x = one.inputs(hidden)
    assert torch.equal(one.encode(x), same.encode(x))
    assert not torch.equal(one.encode(x), other.encode(x))
    whole = one.inputs(CROPS)  # nothing is hidden
    torch.testing.assert_close(one.encode(whole), vit.image.encode(whole["pixels"]))


def test_weights_are_those_of_the_image(vit: Backbone) -> None:
    names = MaskAdapted(vit, copied=True).weights()
    assert names
    assert all(name.startswith("twin.visual.") for name in names)


def test_another_backbone_is_refused(vit: Backbone) -> None:
    with pytest.raises(DataError, match=r"twin\.visual.* missing, .* more"):
        MaskedEncoder.of(vit, {"twin.nothing": torch.zeros(1)})
    learnt = {n: p.detach() for n, p in MaskAdapted(vit, copied=True).named_parameters() if "visual" in n}
    MaskedEncoder.of(vit, learnt)
    name = min(n for n in learnt if n.endswith("c_fc.weight"))
    with pytest.raises(DataError, match=f"{name} of shape"):
        MaskedEncoder.of(vit, {**learnt, name: learnt[name].T})
    with pytest.raises(DataError, match=r"\(prompts of shape"):
        MaskedEncoder.of(vit, {"prompts": torch.zeros(1, 9, vit.tower("image").width)})
