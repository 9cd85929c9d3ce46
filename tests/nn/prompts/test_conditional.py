from __future__ import annotations

import torch
from torch.nn.functional import normalize

from diptych.features.heads import logits
from diptych.nn.prompts.conditional import CoOpPrompt, prompt_logits
from diptych.nn.prompts.soft import encode_prompts, slots, word_vectors
from tests.support.deep_backbone import DeepBackbone

NAMES = ["cat", "red barn", "dog of the barn"]


@torch.no_grad()
def test_every_image_has_the_texts_of_its_own_shift() -> None:
    backbone = DeepBackbone()
    context = word_vectors(backbone, "a photo of the")
    where = slots(backbone, NAMES, len(context))
    z = normalize(torch.randn(3, backbone.image.dim, generator=torch.Generator().manual_seed(0)), dim=-1)

    def scored(x: torch.Tensor, shift: torch.Tensor | float = 0.0) -> torch.Tensor:
        texts = encode_prompts(backbone.tower("text"), where, context + shift)
        return logits(backbone, x, normalize(texts, dim=-1))

    torch.testing.assert_close(prompt_logits(backbone, where, CoOpPrompt(context, None).state_dict(), z), scored(z))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prompt = CoOpPrompt(context, backbone.image.dim)
    assert prompt.net is not None
    each = torch.cat([scored(x[None], shift) for x, shift in zip(z, prompt.net(z), strict=True)])
    torch.testing.assert_close(prompt_logits(backbone, where, prompt.state_dict(), z), each)
    assert not torch.allclose(each, scored(z))
