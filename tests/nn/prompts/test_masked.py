from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.core import Backbone, UsageError
from diptych.nn.prompts.masked import fresh_prompts, mask_prompts
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder: Path = tmp_path_factory.mktemp("clip")
    return small_clip(folder / "vit")


@torch.no_grad()
def test_equals_the_blocks_of_the_library(vit: Backbone) -> None:
    """Prompts stand in for hidden patches at the input and after the first block, written on open_clip's own module."""
    v = vit.module().visual
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([[True, False, True, True], [False, False, True, False]])
    prompts = torch.randn(2, 4, v.class_embedding.shape[0], generator=torch.Generator().manual_seed(1))
    tower = vit.tower("image")
    edit = mask_prompts(prompts, kept)
    ours = tower.project(tower.pooled(tower.blocks(tower.start(x, edit=edit), edit=edit)))

    h = v.conv1(x).flatten(2).transpose(1, 2)
    h = h * kept[..., None] + prompts[0] * ~kept[..., None]
    h = torch.cat([v.class_embedding.expand(2, 1, -1), h], dim=1) + v.positional_embedding
    h = v.ln_pre(h)
    for i, block in enumerate(v.transformer.resblocks):
        h = block(h)
        if i == 0:
            h = torch.cat([h[:, :1], h[:, 1:] * kept[..., None] + prompts[1] * ~kept[..., None]], dim=1)
    torch.testing.assert_close(ours, v.ln_post(h[:, 0]) @ v.proj, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_nothing_hidden_changes_nothing(vit: Backbone) -> None:
    x, tower = torch.randn(1, 3, 32, 32), vit.tower("image")
    edit = mask_prompts(fresh_prompts(2, 4, tower.width), torch.ones(1, 4, dtype=torch.bool))
    ours = tower.project(tower.pooled(tower.blocks(tower.start(x, edit=edit), edit=edit)))
    torch.testing.assert_close(ours, vit.image.encode(x))


def test_another_number_of_patches_is_refused(vit: Backbone) -> None:
    tower = vit.tower("image")
    edit = mask_prompts(fresh_prompts(1, 9, tower.width), torch.ones(1, 9, dtype=torch.bool))
    with pytest.raises(UsageError, match="9 patches, and the tower has 4"):
        tower.start(torch.randn(1, 3, 32, 32), edit=edit)
