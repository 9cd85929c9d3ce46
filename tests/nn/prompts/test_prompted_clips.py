from __future__ import annotations

import torch

from diptych.core import Run
from diptych.features.embed import embed
from diptych.nn.prompts.both_towers import Prompts
from diptych.nn.prompts.prompted_clips import PromptedClips
from tests.support.moving import clip_task
from tests.support.visual_backbone import VisualBackbone


def prompts(backbone: VisualBackbone, seed: int) -> Prompts:
    with Run(seed=seed).seeded("prompts"):
        return Prompts(backbone, 2, 1).requires_grad_(False)


def test_prompts_change_clips_and_texts_and_come_back_from_their_parts() -> None:
    backbone = VisualBackbone()
    space = PromptedClips(backbone, 2, prompts(backbone, 0))
    other = PromptedClips(backbone, 2, prompts(backbone, 1))
    assert space.fingerprint != other.fingerprint
    parts = space.parts()
    assert parts.settings == {"frames": 2, "length": 2, "depth": 1}
    again = PromptedClips.of_parts(parts)
    clips = clip_task()[1].items
    assert torch.equal(embed(again.image, clips, Run()), embed(space.image, clips, Run()))
    assert again.spec.name == space.spec.name
    assert not torch.equal(embed(other.image, clips, Run()), embed(space.image, clips, Run()))
