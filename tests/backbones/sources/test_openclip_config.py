from __future__ import annotations

import open_clip
import pytest
import torch
from open_clip.pretrained import get_pretrained_cfg

from diptych.backbones.sources.openclip_config import build, recipe
from diptych.backbones.spec import state_hash
from tests.support.checkpoints import FAMILIES


def test_random_weights_are_those_of_the_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = (build(FAMILIES["vit"][0], seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert state_hash(a) == state_hash(b) != state_hash(c)


@pytest.mark.parametrize(
    ("architecture", "tag", "expected"),
    [
        ("ViT-B-32-quickgelu", "openai", ("bicubic", "shortest", 0.48145466)),
        ("ViT-B-16-SigLIP", "webli", ("bicubic", "squash", 0.5)),
        ("MobileCLIP-S1", "datacompdr", ("bilinear", "shortest", 0.0)),
        ("ViT-L-14-CLIPA", "datacomp1b", ("bilinear", "squash", 0.485)),
        ("ViT-L-14", "laion2b_s32b_b82k", ("bicubic", "shortest", 0.5)),
        ("ViT-H-14-378-quickgelu", "dfn5b", ("bicubic", "squash", 0.48145466)),
    ],
)
def test_published_recipes_come_from_the_table(architecture: str, tag: str, expected: tuple[str, str, float]) -> None:
    facts = recipe(get_pretrained_cfg(architecture, tag), open_clip.get_model_config(architecture))
    assert (facts.interpolation, facts.resize, facts.mean[0]) == expected
