"""Folders as people have them: layouts, precisions, variants, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.backbones.diffusion.load import load_diffusion
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.core import Backbone, DataError, TextDiffusion
from diptych.testing.backbones import small_clip

pytestmark = pytest.mark.filterwarnings("ignore")

LAYOUTS = ("sd1", "sd2", "sdxl")
LETTERS = ("!", "<|startoftext|>", "<|endoftext|>", *(f"{c}{e}" for c in "abcdeghilnorst" for e in ("", "</w>")))


def small_pipeline(layout: str) -> Any:
    """Return a pipeline of diffusers in the layout of SD 1.5, SD 2.1 or SDXL, with small random weights."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    many = {"sd1": {}, "sd2": {"upcast_attention": True}, "sdxl": {}}[layout]
    common = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (16, 32),
        "norm_num_groups": 8,
    }  # fmt: skip
    downs, ups = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    if layout == "sdxl":
        unet = diffusers.UNet2DConditionModel(
            **common, down_block_types=downs[::-1], up_block_types=ups[::-1], cross_attention_dim=40,
            attention_head_dim=(2, 4), use_linear_projection=True, transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=12 + 48,
        )  # fmt: skip
    else:
        heads = {"sd1": 4, "sd2": (2, 4)}[layout]
        unet = diffusers.UNet2DConditionModel(
            **common, **many, down_block_types=downs, up_block_types=ups, cross_attention_dim=24,
            attention_head_dim=heads, use_linear_projection=layout == "sd2",
        )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, force_upcast=layout == "sdxl",
    )  # fmt: skip

    def text(kind: Any, width: int, act: str) -> Any:
        config = CLIPTextConfig(
            vocab_size=len(LETTERS), hidden_size=width, intermediate_size=32, num_hidden_layers=3,
            num_attention_heads=2, max_position_embeddings=77, bos_token_id=1, eos_token_id=2, pad_token_id=2,
            projection_dim=12, hidden_act=act,
        )  # fmt: skip
        config.eos_token_id = 2
        return kind(config).eval()

    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    parts = {"vae": vae, "unet": unet, "tokenizer": small_tokenizer("<|endoftext|>")}
    if layout == "sdxl":
        parts |= {
            "text_encoder": text(CLIPTextModel, 24, "quick_gelu"),
            "text_encoder_2": text(CLIPTextModelWithProjection, 16, "gelu"), "tokenizer_2": small_tokenizer("!"),
            "scheduler": diffusers.EulerDiscreteScheduler(**schedule, timestep_spacing="leading"),
        }  # fmt: skip
        return diffusers.StableDiffusionXLPipeline(**parts)
    parts["text_encoder"] = text(CLIPTextModel, 24, "quick_gelu" if layout == "sd1" else "gelu")
    if layout == "sd1":
        parts["scheduler"] = diffusers.PNDMScheduler(**schedule, skip_prk_steps=True)
    else:
        parts["tokenizer"] = small_tokenizer("!")
        parts["scheduler"] = diffusers.DDIMScheduler(
            **schedule, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False
        )
    return diffusers.StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def small_tokenizer(pad: str) -> Any:
    """Return CLIP's tokenizer of a few letters."""
    import tempfile

    from transformers import CLIPTokenizer

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(LETTERS)}))
        (Path(folder) / "merges.txt").write_text("#version: 0.2\n")
        return CLIPTokenizer.from_pretrained(folder, pad_token=pad, model_max_length=77)


def clip_pipeline(backbone: Backbone, layers: int, pad: str) -> Any:
    """Return a pipeline of diffusers with the first layers and the last norm of an open_clip text tower, and CLIP's own
    tokenizer.
    """
    import tempfile

    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    pipeline, known = small_pipeline("sd1"), SimpleTokenizer()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(
            json.dumps({w.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): i
                        for w, i in known.encoder.items()})
        )  # fmt: skip
        merges = "\n".join(" ".join(pair) for pair in known.bpe_ranks)
        (Path(folder) / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
        pipeline.tokenizer = CLIPTokenizer.from_pretrained(folder, pad_token=pad, model_max_length=77)
    tensors = {k: v for k, v in backbone.module().state_dict().items() if not k.startswith("visual.")}
    words, width = tensors["token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=words, hidden_size=width, intermediate_size=tensors["transformer.resblocks.0.mlp.c_fc.bias"].numel(),
        num_hidden_layers=layers, num_attention_heads=backbone.tower("text").heads, hidden_act="gelu",
        max_position_embeddings=tensors["positional_embedding"].shape[0], bos_token_id=49406, eos_token_id=49407,
    )  # fmt: skip
    encoder = CLIPTextModel(config).eval()
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        **{f"final_layer_norm.{x}": f"ln_final.{x}" for x in ("weight", "bias")},
    }
    state = {ours: tensors[theirs] for ours, theirs in names.items()}
    for i in range(layers):
        block, layer = f"transformer.resblocks.{i}.", f"encoder.layers.{i}."
        for x in ("weight", "bias"):
            for name, part in zip("qkv", tensors[f"{block}attn.in_proj_{x}"].chunk(3), strict=True):
                state[f"{layer}self_attn.{name}_proj.{x}"] = part
            for ours, theirs in (
                ("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
            ):  # fmt: skip
                state[f"{layer}{ours}.{x}"] = tensors[f"{block}{theirs}.{x}"]
    prefix = "text_model." if any(name.startswith("text_model.") for name in encoder.state_dict()) else ""
    encoder.load_state_dict({prefix + name: t for name, t in state.items()})
    pipeline.text_encoder = encoder
    pipeline.unet = type(pipeline.unet).from_config({**pipeline.unet.config, "cross_attention_dim": width})
    return pipeline


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a pipeline once."""
    pytest.importorskip("diffusers")
    root = tmp_path_factory.mktemp("pipelines")

    def write(layout: str, dtype: torch.dtype = torch.float32, variant: str | None = None) -> Path:
        folder = root / f"{layout}-{dtype}-{variant}"
        if not folder.exists():
            small_pipeline(layout).to(dtype).save_pretrained(folder, variant=variant)
        return folder

    return write


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_folders_of_half_precision_and_variants_load_in_float32(
    folders: Callable[..., Path], dtype: torch.dtype, variant: str | None
) -> None:
    pipeline, whole = load_pipeline(folders("sd1", dtype, variant)), load_pipeline(folders("sd1"))
    assert {module.dtype for module in pipeline.modules()} == {torch.float32}
    for ours, known in zip(pipeline.modules(), whole.modules(), strict=True):
        for name, t in known.state_dict().items():
            if t.is_floating_point():
                assert torch.equal(ours.state_dict()[name], t.to(dtype).float()), name
    z = torch.randn(1, *pipeline.latent)
    assert pipeline.eps(z, torch.tensor([500]), pipeline.encode_text(["a cat"])).dtype == torch.float32
    assert pipeline.fingerprint != whole.fingerprint


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_parts_have_one_precision_and_pictures_float32(folders: Callable[..., Path], layout: str) -> None:
    assert isinstance(load_pipeline(folders(layout)), TextDiffusion)
    pipeline = load_diffusion(f"local:{folders(layout)}", small_clip(), precision="bf16")
    assert {module.dtype for module in pipeline.modules()} == {torch.bfloat16}
    z = torch.randn(1, *pipeline.latent)
    assert pipeline.eps(z, torch.tensor([500]), pipeline.encode_text(["a cat"])).dtype == torch.float32
    assert pipeline.from_latent(z).dtype == pipeline.to_latent(torch.rand(1, 3, 16, 16)).dtype == torch.float32
    half = load_pipeline(folders(layout), torch.float16)
    assert half.autoencoder.dtype == (torch.float32 if layout == "sdxl" else torch.float16)


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_names_of_earlier_versions_are_known(folders: Callable[..., Path], tmp_path: Path, layout: str) -> None:
    """Of the autoencoder's attention, and the prefix and the buffer of text encoders, as the files of SD 1.5 have."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders(layout), tmp_path / layout)
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    for new, old in names.items():
        tensors = {k.replace(f".{new}.", f".{old}.") if ".attentions." in k else k: t for k, t in tensors.items()}
    save_file(tensors, file, metadata={"format": "pt"})
    file = folder / "text_encoder" / "model.safetensors"
    tensors = {f"text_model.{k.removeprefix('text_model.')}": t for k, t in load_file(file).items()}
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors, file, metadata={"format": "pt"})
    assert load_pipeline(folder).fingerprint == load_pipeline(folders(layout)).fingerprint


def edited(folder: Path, place: Path, name: str, **changes: Any) -> Path:
    """Return a copy of a folder with entries of one JSON file changed; None removes one."""
    shutil.copytree(folder, place)
    facts = json.loads((place / name).read_text())
    facts = {k: v for k, v in {**facts, **changes}.items() if v is not None}
    (place / name).write_text(json.dumps(facts))
    return place


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        (
            "model_index.json",
            {"_class_name": "FluxPipeline"},
            "holds a FluxPipeline, and pipelines of Stable Diffusion 1",
        ),
        ("model_index.json", {"text_encoder": [None, None]}, "has no text_encoder"),
        ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "has the scheduler"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "predicts 'sample'"),
        ("unet/config.json", {"cross_attention_dim": 32}, "in the layout of Stable Diffusion in safetensors"),
    ],
)
def test_other_layouts_are_refused_in_one_sentence(
    folders: Callable[..., Path], tmp_path: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        load_pipeline(edited(folders("sd1"), tmp_path / "other", name, **changes))


def test_parts_that_do_not_belong_together_and_lost_weights_are_named(
    folders: Callable[..., Path], tmp_path: Path
) -> None:
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(folders("sd1"), tmp_path / "broken")
    file = broken / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    lost = next(name for name in tensors if "layers.1" in name)
    save_file({k: v for k, v in tensors.items() if k != lost}, file, metadata={"format": "pt"})
    with pytest.raises(DataError, match="lacks 1 weights"):
        load_pipeline(broken)
    mixed = shutil.copytree(folders("sd1"), tmp_path / "mixed")
    shutil.rmtree(mixed / "unet")
    shutil.copytree(folders("sdxl") / "unet", mixed / "unet")
    with pytest.raises(DataError, match="addition_embed_type 'text_time'"):
        load_pipeline(mixed)
    shutil.rmtree(mixed / "unet")
    config = dict(UNet2DConditionModel.load_config(folders("sd1") / "unet"), in_channels=9)
    UNet2DConditionModel.from_config(config).save_pretrained(mixed / "unet")
    with pytest.raises(DataError, match="reads 9 channels, of which 4 are the latent's"):
        load_pipeline(mixed)
    config |= {"in_channels": 4, "cross_attention_dim": 32}
    UNet2DConditionModel.from_config(config).save_pretrained(mixed / "unet")
    with pytest.raises(DataError, match="tokens of width 32, and its text encoders give 24"):
        load_pipeline(mixed)
