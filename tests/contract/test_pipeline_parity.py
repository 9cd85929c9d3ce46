"""Pictures by words are those of diffusers' own pipelines: layouts, schedulers, negative prompts, long ones, LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbones.diffusion.lora import add_lora
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.backbones.diffusion.pipelines import PipelineDiffusion
from diptych.backbones.diffusion.schedulers import SCHEDULERS
from diptych.core import NotAvailable, Run
from diptych.nn.diffusion.ddim import noise
from diptych.tasks.generate import generate
from tests.backbones.diffusion.test_pipeline_folders import LAYOUTS, small_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")
TEXT, BAD = "a red cat and a dog", "a bad dog"
RUN = Run(seed=5)
BOUND = 1e-5
"""Largest difference of a picture's value in [0, 1]; 2.7e-6 was measured, of all layouts, schedulers and prompts."""


@pytest.fixture(scope="module", params=LAYOUTS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PipelineDiffusion, Any]:
    """A pipeline by our reader and by diffusers'."""
    diffusers = pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("pipeline") / request.param
    small_pipeline(request.param).save_pretrained(folder)
    theirs = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    theirs.set_progress_bar_config(disable=True)
    return load_pipeline(folder), theirs


def pictures(ours: PipelineDiffusion, theirs: Any, scheduler: str, negative: str) -> tuple[Tensor, Tensor]:
    """Return two pictures of each, at 5 steps and guidance 7.5."""
    import diffusers

    numbers = {"steps": 5, "guidance": 7.5}
    drawn = generate(
        [TEXT], ours, RUN, count=2, negative=negative, scheduler=scheduler, **numbers,  # type: ignore[arg-type]
    )  # fmt: skip
    kind = getattr(diffusers, SCHEDULERS.get(scheduler, "DDIMScheduler"))
    # As the folders of SD 1.5 and SDXL say; configurations of other schedulers than DDIM need not.
    plain = {"clip_sample": False, "set_alpha_to_one": False} if scheduler == "ddim" else {}
    theirs.scheduler = kind.from_config(theirs.scheduler.config, **plain)
    g = RUN.generator(f"generate/{TEXT}")
    start = noise(ours, 2, g)
    known = theirs(
        TEXT, negative_prompt=negative or None, num_inference_steps=5, guidance_scale=7.5, latents=start, generator=g,
        num_images_per_prompt=2, output_type="pt",
    ).images  # fmt: skip
    return torch.stack([p.after for p in drawn.pairs]), known


@pytest.mark.parametrize(
    ("scheduler", "negative"), [("ddim", ""), ("euler", ""), *((name, BAD) for name in ("ddim", *SCHEDULERS))]
)
def test_pictures_equal_those_of_diffusers(both: tuple[PipelineDiffusion, Any], scheduler: str, negative: str) -> None:
    drawn, known = pictures(*both, scheduler, negative)
    assert known.std() > 0.05
    torch.testing.assert_close(drawn, known, rtol=0, atol=BOUND)


def test_each_text_changes_the_pictures(both: tuple[PipelineDiffusion, Any]) -> None:
    """So that equal pictures mean equal conditions."""

    def drawn(text: str, negative: str = "") -> Tensor:
        pairs = generate([text], both[0], RUN, count=1, steps=5, guidance=7.5, negative=negative).pairs
        return torch.stack([p.after for p in pairs])

    plain = drawn(TEXT)
    assert float((drawn(TEXT, BAD) - plain).abs().max()) > 100 * BOUND


@torch.no_grad()
def test_long_prompts_equal_embeddings_of_their_chunks(both: tuple[PipelineDiffusion, Any]) -> None:
    import diffusers

    ours, theirs = both
    text = "a red cat and a dog " * 9
    told, nothing = ours.encode_text([text]), ours.encode_text([""])
    assert told.tokens.shape[1] == 154
    theirs.scheduler = diffusers.DDIMScheduler.from_config(
        theirs.scheduler.config, clip_sample=False, set_alpha_to_one=False
    )
    pooled = {} if told.pooled is None else {"pooled_prompt_embeds": told.pooled}
    pooled |= {} if nothing.pooled is None else {"negative_pooled_prompt_embeds": nothing.pooled}
    start = noise(ours, 1, RUN.generator(f"generate/{text}"))
    known = theirs(
        prompt_embeds=told.tokens, negative_prompt_embeds=torch.cat([nothing.tokens] * 2, 1), **pooled, latents=start,
        num_inference_steps=5, guidance_scale=7.5, output_type="pt",
    ).images  # fmt: skip
    (drawn,) = generate([text], ours, RUN, steps=5, guidance=7.5).pairs
    torch.testing.assert_close(drawn.after, known[0], rtol=0, atol=BOUND)


def test_pictures_of_a_lora_folder_equal_those_of_diffusers(
    both: tuple[PipelineDiffusion, Any], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    ours, theirs = both
    other = type(theirs).from_pretrained(ours.folder, local_files_only=True)
    torch.manual_seed(1)
    other.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    layers = get_peft_model_state_dict(other.unet)
    type(other).save_lora_weights(tmp_path / "lora", unet_lora_layers=layers)
    theirs.load_lora_weights(tmp_path / "lora")
    changed = load_pipeline(Path(ours.folder))
    add_lora(changed, tmp_path / "lora")
    drawn, known = pictures(changed, theirs, "ddim", BAD)
    theirs.unload_lora_weights()
    torch.testing.assert_close(drawn, known, rtol=0, atol=BOUND)
    plain, _ = pictures(ours, theirs, "ddim", BAD)
    assert float((drawn - plain).abs().max()) > 100 * BOUND
    assert changed.fingerprint != ours.fingerprint
    assert not any("lora" in name for network in changed.modules() for name in network.state_dict())


def low_rank(network: Any, layers: tuple[str, ...], prefix: str, kohya: bool) -> dict[str, Tensor]:
    """Return random factors for the layers of a network, with names as peft or kohya writes them."""
    factors = {}
    for name, module in network.named_modules():
        if name.endswith(layers):
            down, up = torch.randn(2, module.in_features), torch.randn(module.out_features, 2)
            if not kohya:
                factors |= {f"{prefix}.{name}.lora_A.weight": 0.3 * down, f"{prefix}.{name}.lora_B.weight": 0.3 * up}
                continue
            within = "" if "unet" in prefix else "text_model_"
            key = f"{prefix}_{within}{name.removeprefix('text_model.').replace('.', '_')}"
            factors |= {f"{key}.lora_down.weight": 0.3 * down, f"{key}.lora_up.weight": 0.3 * up}
            factors[f"{key}.alpha"] = torch.tensor(1.0)
    return factors


@pytest.mark.parametrize("kohya", [False, True])
def test_a_lora_of_the_text_encoders_too_equals_that_of_diffusers(
    both: tuple[PipelineDiffusion, Any], tmp_path: Path, kohya: bool
) -> None:
    pytest.importorskip("peft")
    from safetensors.torch import save_file

    ours, theirs = both
    two = hasattr(theirs, "text_encoder_2")
    names = ("lora_unet", "lora_te1" if two else "lora_te", "lora_te2") if kohya else (
        "unet", "text_encoder", "text_encoder_2"
    )  # fmt: skip
    torch.manual_seed(1)
    factors = low_rank(theirs.unet, ("to_q", "to_v"), names[0], kohya)
    for encoder, name in zip([part.encoder for part in ours.texts.parts], names[1:], strict=False):
        factors |= low_rank(encoder, ("q_proj", "k_proj", "v_proj", "out_proj"), name, kohya)
    save_file(factors, tmp_path / "lora.safetensors")
    changed = load_pipeline(Path(ours.folder))
    try:
        add_lora(changed, tmp_path)
    except NotAvailable as error:
        pytest.skip(str(error))
    theirs.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    assert isinstance(changed, PipelineDiffusion)
    drawn, known = pictures(changed, theirs, "ddim", BAD)
    theirs.unload_lora_weights()
    torch.testing.assert_close(drawn, known, rtol=0, atol=BOUND)
    for part, before in zip(changed.texts.parts, ours.texts.parts, strict=True):
        weights = part.encoder.state_dict()
        assert not any("lora" in name for name in weights)
        assert any(not torch.equal(t, weights[name]) for name, t in before.encoder.state_dict().items())
