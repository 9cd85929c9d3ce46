"""Parity with diffusers on random weights: hooks, conditions, and the scheduler's numbers; a folder without index."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.backbones.diffusion.pipelines import HookedAttention, PipelineDiffusion, sites_of
from diptych.core import Condition, Evidence, Kit, Site, TextDiffusion
from diptych.core.diffusion import Widened
from diptych.nn.diffusion.frames import sparse_causal
from tests.backbones.diffusion.test_pipeline_folders import LAYOUTS, small_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion's layout with random weights, a few hundred thousand of them."""
    diffusers = pytest.importorskip("diffusers")
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    place = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24, attention_head_dim=4, norm_num_groups=8,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4,
    )  # fmt: skip
    letters = ["<|startoftext|>", "<|endoftext|>", *(f"{c}{e}" for c in "abcdeghilnorst" for e in ("", "</w>"))]
    (place / "words").mkdir()
    (place / "words" / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(letters)}))
    (place / "words" / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(place / "words").save_pretrained(place / "tokenizer")
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(letters), hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=20, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    unet.save_pretrained(place / "unet")
    vae.save_pretrained(place / "vae")
    text.save_pretrained(place / "text_encoder")
    diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, set_alpha_to_one=False
    ).save_pretrained(place / "scheduler")
    return place


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> PipelineDiffusion:
    return load_pipeline(folder)


def asked(pipeline: PipelineDiffusion) -> tuple[Tensor, Tensor, Any]:
    z = torch.randn(2, *pipeline.latent, generator=torch.Generator().manual_seed(2))
    return z, torch.tensor([3, 801]), pipeline.encode_text(["a red cat", "a dog"])


def test_it_is_a_text_diffusion_of_the_scheduler_s_numbers(pipeline: PipelineDiffusion) -> None:
    assert isinstance(pipeline, TextDiffusion)
    assert (pipeline.size, pipeline.latent) == (16, (4, 8, 8))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(pipeline.alphas_cumprod, torch.cumprod(1 - betas, 0), rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_noise_is_the_unet_s_and_a_hook_that_looks_changes_nothing(pipeline: PipelineDiffusion) -> None:
    z, t, c = asked(pipeline)
    expected = pipeline.unet(z, t, encoder_hidden_states=c.tokens).sample
    torch.testing.assert_close(pipeline.eps(z, t, c), expected)
    seen: dict[Site, Tensor] = {}

    def look(site: Site, probabilities: Tensor) -> None:
        seen[site] = probabilities

    before = {name: type(p) for name, p in pipeline.unet.attn_processors.items()}
    torch.testing.assert_close(pipeline.eps(z, t, c, look), expected, rtol=1e-4, atol=1e-5)
    assert {name: type(p) for name, p in pipeline.unet.attn_processors.items()} == before
    crossed = [s for s in seen if s.kind == "cross"]
    assert [s.number for s in crossed] == list(range(len(crossed)))
    assert [s.place for s in crossed] == ["down", "mid", "up", "up"]
    assert seen[crossed[0]].shape == (2, 4, 64, 20)  # diffusers' attention_head_dim is the number of heads here
    for p in seen.values():
        torch.testing.assert_close(p.sum(-1), torch.ones(p.shape[:3]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_replaced_attention_is_used(pipeline: PipelineDiffusion) -> None:
    z, t, c = asked(pipeline)

    def even(site: Site, p: Tensor) -> Tensor | None:
        return torch.full_like(p, 1 / p.shape[-1]) if site.kind == "cross" else None

    def swapped(site: Site, p: Tensor) -> Tensor | None:
        return p.flip(-1) if site.kind == "cross" else None

    assert not torch.allclose(pipeline.eps(z, t, c, even), pipeline.eps(z, t, c), atol=1e-6)
    flipped = type(c)(c.tokens.flip(1), None)  # attention without positions: order of the tokens does not count
    torch.testing.assert_close(
        pipeline.eps(z, t, flipped, lambda site, p: None), pipeline.eps(z, t, c), rtol=1e-3, atol=1e-4
    )
    assert not torch.allclose(pipeline.eps(z, t, c, swapped), pipeline.eps(z, t, c), atol=1e-6)


def test_texts_places_and_pictures(pipeline: PipelineDiffusion) -> None:
    assert pipeline.encode_text(["a dog"]).tokens.shape == (1, 20, 24)
    assert pipeline.places("a dog and a dog", "dog") == (2, 3, 4, 9, 10, 11)
    assert pipeline.places("a dog", "cat") == ()
    z = pipeline.to_latent(torch.rand(1, 3, 16, 16))
    assert z.shape == (1, 4, 8, 8)
    assert pipeline.from_latent(z).shape == (1, 3, 16, 16)


def test_it_teaches_an_image_tower_as_the_small_denoiser_does(pipeline: PipelineDiffusion) -> None:
    from diptych.methods.pretrain.diva import DIVA
    from diptych.train.recipe import train_space
    from tests.train.test_pair import FIT, RUN, Squares, small

    before = {n: w.clone() for n, w in pipeline.unet.state_dict().items()}
    kit, fit = Kit({"main": small(), "diffusion": pipeline}), replace(FIT, batch=4, steps=1)
    trained = train_space(DIVA(prompt="a red cat", patches=19), kit, Evidence(unlabelled=Squares(4)), fit, RUN)
    assert math.isfinite(trained.log[-1]["main/noise"])
    assert trained.space.fingerprint != small().fingerprint
    assert all(torch.equal(w, pipeline.unet.state_dict()[n]) for n, w in before.items())


@torch.no_grad()
def test_tokens_that_are_no_text_s_get_the_pooled_vector_of_no_text(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    small_pipeline("sdxl").save_pretrained(tmp_path)
    pipeline = load_pipeline(tmp_path)
    z, t, c = asked(pipeline)
    assert c.pooled is not None
    bare = pipeline.eps(z, t, Condition(c.tokens))
    assert torch.equal(bare, pipeline.eps(z, t, replace(c, pooled=torch.zeros_like(c.pooled))))
    assert not torch.allclose(bare, pipeline.eps(z, t, c), atol=1e-5)
    assert pipeline.reading is None
    assert pipeline.texts.reading is None


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
