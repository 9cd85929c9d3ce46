from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.backbones.diffusion.hooked_attention import HookedAttention, sites_of
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.core import Site
from diptych.core.diffusion import Widened
from diptych.nn.diffusion.frames import sparse_causal
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


@torch.no_grad()
def test_frames_read_what_diffusers_reads_where_it_is_given_these_tokens() -> None:
    pytest.importorskip("diffusers")
    from diffusers.models.attention_processor import Attention, AttnProcessor

    torch.manual_seed(0)
    h, layer = torch.randn(3, 16, 12), Attention(12, heads=2, dim_head=6, processor=AttnProcessor())
    expected = layer(h, encoder_hidden_states=sparse_causal(h, 3))
    layer.set_processor(HookedAttention(Site("self", "mid", 0), Widened(lambda x: sparse_causal(x, 3))))
    torch.testing.assert_close(layer(h), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(expected, layer(h.flip(0)).flip(0), atol=1e-3)
