from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.backbones.diffusion.hooked_attention import sites_of
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from tests.backbones.diffusion.test_pipeline_folders import LAYOUTS, small_pipeline


def test_sites_are_numbered_in_the_order_in_which_they_run() -> None:
    blocks = ("down_blocks.1", "up_blocks.10", "up_blocks.2", "mid_block")
    names = [f"{b}.attentions.0.transformer_blocks.0.attn{k}.processor" for b in blocks for k in (1, 2)]
    order = [s.place for s in sorted(sites_of(names).values(), key=lambda s: s.number) if s.kind == "cross"]
    assert order == ["down", "mid", "up", "up"]
    assert sites_of(names)[names[5]].number == 2
    assert sites_of(names)[names[3]].number == 3


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_attention_equals_diffusers_own_explicit_processor(layout: str, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from diffusers.models.attention_processor import AttnProcessor

    small_pipeline(layout).save_pretrained(tmp_path)
    pipeline = load_pipeline(tmp_path)
    z = torch.randn(2, *pipeline.latent, generator=torch.Generator().manual_seed(2))
    t, c = torch.tensor([3, 801]), pipeline.encode_text(["a red cat", "a dog " * 30])
    assert c.mask is not None  # the second text has more chunks
    before = pipeline.unet.attn_processors
    pipeline.unet.set_attn_processor(AttnProcessor())
    explicit = pipeline.output(z, t, c)
    pipeline.unet.set_attn_processor(before)
    torch.testing.assert_close(pipeline.output(z, t, c, lambda site, p: p), explicit, rtol=1e-4, atol=1e-5)
