"""Pictures by words of Stable Diffusion 3's layout are those of diffusers' own pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbones.diffusion.lora import add_lora
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.backbones.diffusion.pipelines import Pipeline
from diptych.backbones.diffusion.schedulers import FLOW_SCHEDULERS
from diptych.core import DataError, Run
from diptych.nn.diffusion.ddim import noise
from diptych.tasks.generate import generate
from tests.backbones.diffusion.test_flow_folders import small_flow_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")
TEXT, BAD = "a red cat and a dog", "a bad dog"
RUN = Run(seed=5)
BOUND = 1e-5
"""Largest difference of a picture's value in [0, 1]; 1.0e-6 was measured, of all layouts, schedulers and prompts."""
KINDS: dict[str, dict[str, Any]] = {
    "t5": {},
    "clip": {"t5": False},
    "by size": {"use_dynamic_shifting": True, "base_image_seq_len": 4, "max_image_seq_len": 64},
}


@pytest.fixture(scope="module", params=list(KINDS))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, Any]:
    """A pipeline by our reader and by diffusers'."""
    diffusers = pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("pipeline") / "sd3"
    small_flow_pipeline(**KINDS[request.param]).save_pretrained(folder)
    without = {} if KINDS[request.param].get("t5", True) else {"text_encoder_3": None, "tokenizer_3": None}
    theirs = diffusers.StableDiffusion3Pipeline.from_pretrained(folder, local_files_only=True, **without)
    theirs.set_progress_bar_config(disable=True)
    return load_pipeline(folder), theirs


def drawn(ours: Pipeline, text: str = TEXT, **more: Any) -> Tensor:
    """Return two pictures, at 5 steps and guidance 7.5."""
    numbers = {"steps": 5, "guidance": 7.5, **more}
    return torch.stack([p.after for p in generate([text], ours, RUN, count=2, **numbers).pairs])


def known(ours: Pipeline, theirs: Any, scheduler: str, negative: str, guidance: float = 7.5) -> Tensor:
    """Return the same two of diffusers."""
    import diffusers

    theirs.scheduler = getattr(diffusers, FLOW_SCHEDULERS[scheduler]).from_config(ours.scheduler)
    pictures: Tensor = theirs(
        TEXT, negative_prompt=negative or None, num_inference_steps=5, guidance_scale=guidance,
        latents=noise(ours, 2, RUN.generator(f"generate/{TEXT}")), num_images_per_prompt=2, output_type="pt",
    ).images  # fmt: skip
    return pictures


@pytest.mark.parametrize(("scheduler", "negative"), [("euler-flow", ""), *((name, BAD) for name in FLOW_SCHEDULERS)])
def test_pictures_equal_those_of_diffusers(both: tuple[Pipeline, Any], scheduler: str, negative: str) -> None:
    ours, theirs = both
    if scheduler == "heun-flow" and ours.scheduler["use_dynamic_shifting"]:
        with pytest.raises(DataError, match="shifts its steps by the size of the picture"):
            drawn(ours, scheduler=scheduler)
        return
    expected = known(ours, theirs, scheduler, negative)
    assert expected.std() > 0.05
    torch.testing.assert_close(drawn(ours, negative=negative, scheduler=scheduler), expected, rtol=0, atol=BOUND)


def test_each_text_changes_the_pictures_and_euler_is_the_usual_scheduler(both: tuple[Pipeline, Any]) -> None:
    """So that equal pictures mean equal conditions."""
    plain = drawn(both[0])
    assert torch.equal(drawn(both[0], scheduler="euler-flow"), plain)
    assert float((drawn(both[0], negative=BAD) - plain).abs().max()) > 100 * BOUND


def test_pictures_without_guidance_equal_those_of_diffusers(both: tuple[Pipeline, Any]) -> None:
    expected = known(*both, "euler-flow", "", guidance=1.0)
    torch.testing.assert_close(drawn(both[0], guidance=1.0), expected, rtol=0, atol=BOUND)


@torch.no_grad()
def test_long_prompts_equal_embeddings_of_their_chunks(both: tuple[Pipeline, Any]) -> None:
    ours, theirs = both
    text = "a red cat and a dog " * 9
    read = ours.encode_text([text])
    assert read.pooled is not None
    assert read.tokens.shape[1] == 2 * 77 + 256
    more = theirs.encode_prompt(text, None, None, do_classifier_free_guidance=False)[0]
    torch.testing.assert_close(read.tokens[:, :77], more[:, :77], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(read.tokens[:, 154:], more[:, 77:], rtol=1e-4, atol=1e-5)
    theirs.scheduler = type(theirs.scheduler).from_config(ours.scheduler)
    expected = theirs(
        prompt_embeds=read.tokens.repeat(2, 1, 1), pooled_prompt_embeds=read.pooled.repeat(2, 1), guidance_scale=1.0,
        latents=noise(ours, 2, RUN.generator(f"generate/{text}")), num_inference_steps=5, output_type="pt",
    ).images  # fmt: skip
    torch.testing.assert_close(drawn(ours, text, guidance=1.0), expected, rtol=0, atol=BOUND)
    assert float((expected - drawn(ours, text[:100], guidance=1.0)).abs().max()) > 100 * BOUND


def test_pictures_of_a_lora_folder_equal_those_of_diffusers(both: tuple[Pipeline, Any], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    ours, theirs = both
    other = SD3Transformer2DModel.from_pretrained(Path(ours.folder) / "transformer", local_files_only=True)
    torch.manual_seed(1)
    other.add_adapter(LoraConfig(r=2, target_modules=["to_q", "add_v_proj"], init_lora_weights=False))
    StableDiffusion3Pipeline.save_lora_weights(
        tmp_path / "lora", transformer_lora_layers=get_peft_model_state_dict(other)
    )
    theirs.load_lora_weights(tmp_path / "lora")
    changed = load_pipeline(Path(ours.folder))
    add_lora(changed, tmp_path / "lora")
    expected = known(changed, theirs, "euler-flow", BAD)
    theirs.unload_lora_weights()
    pictures = drawn(changed, negative=BAD)
    torch.testing.assert_close(pictures, expected, rtol=0, atol=BOUND)
    assert float((pictures - drawn(ours, negative=BAD)).abs().max()) > 100 * BOUND
    assert changed.fingerprint != ours.fingerprint
    assert not any("lora" in name for network in changed.modules() for name in network.state_dict())
