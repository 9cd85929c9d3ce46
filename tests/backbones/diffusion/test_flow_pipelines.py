"""A flow as a denoiser of noise, against its equations and the transformer itself."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbones.diffusion.flow_pipelines import FlowDiffusion
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.core import Condition, Evidence, Kit, MissingHook, TextDiffusion
from tests.backbones.diffusion.test_flow_folders import small_flow_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")
LONG = "a red cat and " * 12 + "a dog"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> FlowDiffusion:
    pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("pipeline") / "sd3"
    small_flow_pipeline().save_pretrained(folder)
    loaded = load_pipeline(folder)
    assert isinstance(loaded, FlowDiffusion)
    return loaded


def noisy(pipeline: FlowDiffusion, texts: list[str]) -> tuple[Tensor, Tensor, Condition]:
    z = torch.randn(len(texts), *pipeline.latent, generator=torch.Generator().manual_seed(2))
    return z, torch.tensor([3, 801])[: len(texts)], pipeline.encode_text(texts)


def test_it_is_a_text_diffusion_of_the_shifted_flow(pipeline: FlowDiffusion) -> None:
    assert isinstance(pipeline, TextDiffusion)
    k = torch.arange(1, 1001, dtype=torch.float64) / 1000
    s = 3 * k / (1 + 2 * k)
    torch.testing.assert_close(pipeline.sigmas.double(), s, rtol=1e-5, atol=1e-7)
    ratio = pipeline.alphas_cumprod[:-1] / (1 - pipeline.alphas_cumprod[:-1])
    torch.testing.assert_close(ratio, ((1 - s[:-1]) / s[:-1]) ** 2, rtol=1e-3, atol=1e-9)
    assert float(pipeline.alphas_cumprod[-1]) == 0
    assert (pipeline.size, pipeline.latent, pipeline.cells, pipeline.reading) == (16, (16, 8, 8), 16, None)


def test_a_true_velocity_gives_the_true_noise(pipeline: FlowDiffusion) -> None:
    clean, e = (
        torch.randn(3, *pipeline.latent, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
        for i in (1, 2)
    )
    t = torch.tensor([0, 400, 999])
    s = pipeline.sigmas[t].double()[:, None, None, None]
    seen: dict[str, Tensor] = {}

    class Straight:
        dtype, config = torch.float64, pipeline.transformer.config

        def __call__(self, hidden_states: Tensor, timestep: Tensor, **more: Any) -> Any:
            seen.update(x=hidden_states, t=timestep)
            return SimpleNamespace(sample=e - clean)

    a = pipeline.alphas_cumprod[t][:, None, None, None]
    z = a.sqrt() * clean + (1 - a).sqrt() * e
    condition = pipeline.encode_text(["a cat"] * 3)
    torch.testing.assert_close(replace(pipeline, transformer=Straight()).eps(z, t, condition), e, rtol=0, atol=1e-9)
    torch.testing.assert_close(seen["x"], (1 - s) * clean + s * e, rtol=0, atol=1e-9)
    torch.testing.assert_close(seen["t"], 1000 * s.flatten())


@torch.no_grad()
def test_the_velocity_is_the_transformer_s(pipeline: FlowDiffusion) -> None:
    z, t, c = noisy(pipeline, ["a red cat", "a dog"])
    expected = pipeline.transformer(z, c.tokens, c.pooled, t.float()).sample
    torch.testing.assert_close(pipeline.output(z, t.float(), c), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_text_counts_alike_alone_and_beside_a_longer_one(pipeline: FlowDiffusion) -> None:
    z, t, both = noisy(pipeline, [LONG, "a cat"])
    assert both.mask is not None
    assert both.mask.sum(1).tolist() == [2 * 77 + 256, 77 + 256]
    predicted = pipeline.eps(z, t, both)
    for i, text in enumerate([LONG, "a cat"]):
        alone = pipeline.eps(z[i : i + 1], t[i : i + 1], pipeline.encode_text([text]))
        torch.testing.assert_close(predicted[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    cut = pipeline.eps(z[:1], t[:1], pipeline.encode_text([LONG.removesuffix("a dog")]))
    assert not torch.allclose(predicted[:1], cut, atol=1e-6)


@torch.no_grad()
def test_tokens_that_are_no_text_s_get_the_pooled_vector_of_no_text(pipeline: FlowDiffusion) -> None:
    z, t, c = noisy(pipeline, ["a red cat", "a dog"])
    nothing = pipeline.encode_text(["", ""]).pooled
    bare = pipeline.eps(z, t, Condition(c.tokens))
    torch.testing.assert_close(bare, pipeline.eps(z, t, replace(c, pooled=nothing)), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(bare, pipeline.eps(z, t, c), atol=1e-5)


def test_a_hook_is_refused(pipeline: FlowDiffusion) -> None:
    with pytest.raises(MissingHook, match="no cross-attention to look at"):
        pipeline.eps(*noisy(pipeline, ["a cat"]), lambda site, probabilities: None)


def test_latents_are_shifted_and_scaled(pipeline: FlowDiffusion) -> None:
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    mean = pipeline.autoencoder.encode(pictures * 2 - 1).latent_dist.mean
    z = pipeline.to_latent(pictures)
    torch.testing.assert_close(z, (mean - 0.0609) * 1.5305)
    shown = (pipeline.autoencoder.decode(mean).sample + 1) / 2
    torch.testing.assert_close(pipeline.from_latent(z), shown.clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_it_teaches_an_image_tower_as_other_denoisers_do(pipeline: FlowDiffusion) -> None:
    from diptych.methods.pretrain.diva import DIVA
    from diptych.train.recipe import train_space
    from tests.train.test_pair import FIT, RUN, Squares, small

    kit, fit = Kit({"main": small(), "diffusion": pipeline}), replace(FIT, batch=4, steps=1)
    result = train_space(DIVA(prompt="a red cat", patches=19), kit, Evidence(unlabelled=Squares(4)), fit, RUN)
    assert math.isfinite(result.log[-1]["main/noise"])
    assert result.space.fingerprint != small().fingerprint
