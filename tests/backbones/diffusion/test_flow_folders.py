"""Folders of Stable Diffusion 3 as people have them: with and without T5, precisions, variants, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.backbones.diffusion.flow_pipelines import FlowDiffusion
from diptych.backbones.diffusion.load import load_diffusion
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.core import DataError, TextDiffusion
from diptych.testing.backbones import small_clip
from tests.backbones.diffusion.test_pipeline_folders import LETTERS, edited, small_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")

PIECES = (("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0), *((c, -3.0) for c in "abcdeghilnorst"))
WIDTH = 48
"""Of a token that the transformer reads; those of both CLIPs together have 40."""


def small_flow_pipeline(*, t5: bool = True, **shift: Any) -> Any:
    """Return a pipeline of diffusers in the layout of Stable Diffusion 3, with small random weights.

    Args:
        t5: whether it has the third text encoder.
        shift: settings of the scheduler in the place of the published shift of 3.
    """
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5TokenizerFast

    torch.manual_seed(0)

    def clip(width: int, act: str, projection: int) -> Any:
        config = CLIPTextConfig(
            vocab_size=len(LETTERS), hidden_size=width, intermediate_size=32, num_hidden_layers=3,
            num_attention_heads=2, max_position_embeddings=77, bos_token_id=1, eos_token_id=2, pad_token_id=2,
            projection_dim=projection, hidden_act=act,
        )  # fmt: skip
        config.eos_token_id = 2
        return CLIPTextModelWithProjection(config).eval()

    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=16, num_layers=3, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=WIDTH, caption_projection_dim=32, pooled_projection_dim=12 + 20, out_channels=16,
        pos_embed_max_size=12, dual_attention_layers=(0,), qk_norm="rms_norm",
    ).eval()  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609,
        use_quant_conv=False, use_post_quant_conv=False,
    ).eval()  # fmt: skip
    first, second = clip(24, "quick_gelu", 12), clip(16, "gelu", 20)
    third = None
    if t5:
        third = T5EncoderModel(
            T5Config(
                vocab_size=len(PIECES), d_model=WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
                feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1,
            )
        ).eval()  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer, vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**(shift or {"shift": 3.0})),
        text_encoder=first, tokenizer=small_tokenizer("<|endoftext|>"),
        text_encoder_2=second, tokenizer_2=small_tokenizer("!"),
        text_encoder_3=third, tokenizer_3=T5TokenizerFast(vocab=list(PIECES), extra_ids=0) if t5 else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a pipeline once."""
    pytest.importorskip("diffusers")
    root = tmp_path_factory.mktemp("pipelines")

    def write(t5: bool = True, dtype: torch.dtype = torch.float32, variant: str | None = None) -> Path:
        folder = root / f"{t5}-{dtype}-{variant}"
        if not folder.exists():
            small_flow_pipeline(t5=t5).to(dtype).save_pretrained(folder, variant=variant)
        return folder

    return write


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_folders_of_half_precision_and_variants_load_in_float32(
    folders: Callable[..., Path], dtype: torch.dtype, variant: str | None
) -> None:
    pipeline, whole = load_pipeline(folders(True, dtype, variant)), load_pipeline(folders())
    assert len(pipeline.modules()) == 5
    for ours, known in zip(pipeline.modules(), whole.modules(), strict=True):
        assert {t.dtype for t in ours.parameters()} == {torch.float32}
        for name, t in known.named_parameters():
            assert torch.equal(ours.state_dict()[name], t.to(dtype).float()), name
    assert pipeline.fingerprint != whole.fingerprint


@pytest.mark.parametrize("t5", [True, False])
def test_all_parts_have_one_precision_and_pictures_float32(folders: Callable[..., Path], t5: bool) -> None:
    whole = load_pipeline(folders(t5))
    assert isinstance(whole, TextDiffusion)
    assert whole.fingerprint == load_pipeline(folders(t5)).fingerprint != load_pipeline(folders(not t5)).fingerprint
    pipeline = load_diffusion(f"local:{folders(t5)}", small_clip(), precision="bf16")
    assert isinstance(pipeline, FlowDiffusion)
    assert (pipeline.size, pipeline.latent, len(pipeline.modules())) == (16, (16, 8, 8), 5 if t5 else 4)
    assert {module.dtype for module in pipeline.modules()} == {torch.bfloat16}
    z = torch.randn(1, *pipeline.latent)
    assert pipeline.eps(z, torch.tensor([500]), pipeline.encode_text(["a cat"])).dtype == torch.float32
    assert pipeline.from_latent(z).dtype == pipeline.to_latent(torch.rand(1, 3, 16, 16)).dtype == torch.float32


def test_t5_in_several_files_is_read(folders: Callable[..., Path], tmp_path: Path) -> None:
    """As the published folders have it, and its variant."""
    from transformers import T5EncoderModel

    for variant in (None, "fp16"):
        folder = shutil.copytree(folders(), tmp_path / str(variant))
        shutil.rmtree(folder / "text_encoder_3")
        encoder = T5EncoderModel.from_pretrained(folders() / "text_encoder_3")
        encoder.save_pretrained(folder / "text_encoder_3", max_shard_size="10KB", variant=variant)
        assert len(list((folder / "text_encoder_3").glob("*.safetensors"))) > 1
        assert load_pipeline(folder).fingerprint == load_pipeline(folders()).fingerprint


def test_a_folder_whose_t5_was_not_copied_is_read_without_it(folders: Callable[..., Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders(), tmp_path / "light")
    shutil.rmtree(folder / "text_encoder_3")
    with pytest.warns(UserWarning, match="lacks text_encoder_3, which its model_index.json names"):
        light = load_pipeline(folder)
    assert light.fingerprint == load_pipeline(folders(False)).fingerprint


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("model_index.json", {"_class_name": "FluxPipeline"}, "holds a FluxPipeline, and pipelines of Stable"),
        ("model_index.json", {"vae": [None, None]}, "has no vae"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler"}, "'DDIMScheduler', which is not of flow"),
        ("transformer/config.json", {"joint_attention_dim": 32}, "in the layout of Stable Diffusion in safetensors"),
    ],
)
def test_other_layouts_are_refused_in_one_sentence(
    folders: Callable[..., Path], tmp_path: Path, name: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        load_pipeline(edited(folders(), tmp_path / "other", name, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_channels": 33}, "reads 33 channels, of which 16 are the latent's"),
        ({"joint_attention_dim": 32}, "tokens of width 32, and its text encoders give 40 and 48"),
        ({"joint_attention_dim": 64}, "tokens of width 64, and its text encoders give 40 and 48"),
        ({"pooled_projection_dim": 8}, "which have 32 numbers"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(
    folders: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    from diffusers import SD3Transformer2DModel

    folder = shutil.copytree(folders(), tmp_path / "mixed")
    config = {**SD3Transformer2DModel.load_config(folder / "transformer"), **changes}
    shutil.rmtree(folder / "transformer")
    SD3Transformer2DModel.from_config(config).save_pretrained(folder / "transformer")
    with pytest.raises(DataError, match=words):
        load_pipeline(folder)


def test_lost_weights_are_named(folders: Callable[..., Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders(), tmp_path / "broken")
    file = folder / "text_encoder_3" / "model.safetensors"
    tensors = load_file(file)
    lost = next(name for name in tensors if "block.1" in name)
    save_file({k: v for k, v in tensors.items() if k != lost}, file, metadata={"format": "pt"})
    with pytest.raises(DataError, match="lacks 1 weights"):
        load_pipeline(folder)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "StableDiffusion3Pipeline"
