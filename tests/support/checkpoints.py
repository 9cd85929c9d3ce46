"""Tiny random checkpoints in the published formats, written without diptych's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
OPENAI = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
HALVES = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
MOBILE = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "resize_mode": "shortest"}
WORDS = ["a", "photo", "of", "the", "cat", "dog", "red", "barn", "two"]
CLIP_END = 512 + 500 + 1
SENTENCES = ["a photo of a cat", "a dog", "the red barn of two dogs"]


def timm_tower(name: str, pool: str, proj: str | None, size: int = 224) -> dict[str, Any]:
    return {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
        "image_size": size,
    }


def vit(**extra: Any) -> dict[str, Any]:
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    return {"embed_dim": 12, "vision_cfg": vision, "text_cfg": dict(TEXT), **extra}


SIGLIP_TEXT = {
    "context_length": 64,
    "vocab_size": 32,
    "width": 16,
    "heads": 2,
    "layers": 2,
    "hf_tokenizer_name": "org/siglip-tokenizer",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
SIGLIP = {
    "embed_dim": 192,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": timm_tower("vit_tiny_patch16_224", "map", "none"),
    "text_cfg": SIGLIP_TEXT,
}
EVA = {**vit(custom_text=True), "vision_cfg": timm_tower("eva02_tiny_patch14_224", "token", None)}
MOBILECLIP = {
    **vit(custom_text=True),
    "vision_cfg": timm_tower("fastvit_t8", "avg", None, 64),
    "text_cfg": {**TEXT, "no_causal_mask": True},
}
COCA = {
    **vit(custom_text=True),
    "vision_cfg": {**vit()["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**TEXT, "context_length": 76, "attn_pooler_heads": 2},
}
RESNET = {**vit(), "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vit": (vit(), OPENAI),
    "vit-quickgelu": (vit(quick_gelu=True), OPENAI),
    "vit-custom-text": (vit(custom_text=True), OPENAI),
    "resnet": (RESNET, OPENAI),
    "convnext": ({**vit(), "vision_cfg": timm_tower("convnext_atto", "", "linear", 64)}, OPENAI),
    "siglip": (SIGLIP, HALVES),
    "eva": (EVA, OPENAI),
    "mobileclip": (MOBILECLIP, MOBILE),
    "coca": (COCA, OPENAI),
}


def openclip_model(config: dict[str, Any], seed: int = 0) -> torch.nn.Module:
    """Build by open_clip's classes; batch norms get statistics that training mode would not reproduce."""
    from open_clip import CLIP, CoCa, CustomTextCLIP

    config = json.loads(json.dumps(config))
    custom = config.pop("custom_text", False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: torch.nn.Module = (CLIP if not custom else CoCa if "multimodal_cfg" in config else CustomTextCLIP)(
            **config
        )
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)
    return model


def small_tokenizer(
    folder: Path, *, end: str = "</s>", end_id: int = 1, pad_id: int = 0, bos: str | None = None
) -> None:
    """Write a word-level tokenizer with SigLIP's or BERT's habits."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    unknown = next(i for i in range(3) if i not in (pad_id, end_id))
    special = {"<pad>": pad_id, end: end_id, "<unk>": unknown} | ({bos: 3} if bos else {})
    vocab = special | {w: 4 + i for i, w in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    single = f"{bos} $A {end}" if bos else f"$A {end}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(k, v) for k, v in special.items() if k in (bos, end)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token=end, unk_token="<unk>", bos_token=bos
    )
    fast.save_pretrained(str(folder))


def gap(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return max |difference| / max |value|."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def into_hub_cache(cache: Path, repository: str, folder: Path) -> None:
    """Lay a folder's files down as the hub's own downloads do."""
    import shutil

    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, home / "snapshots" / ("0" * 40))


def transformers_folder(folder: Path, family: str, seed: int = 0) -> Path:
    """Write a random transformers checkpoint with its tokenizer and processor, by transformers' own
    ``save_pretrained``.
    """
    import transformers as t

    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**small, "image_size": 32, "patch_size": 16}
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family == "clip":
            clip_tokenizer().save_pretrained(str(folder))
            text = {**small, "vocab_size": CLIP_END + 1, "eos_token_id": CLIP_END, "bos_token_id": CLIP_END - 1}
            model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
        elif family == "siglip":
            small_tokenizer(folder)
            text = {**small, "vocab_size": 32, "max_position_embeddings": 64}
            model = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=vision))
        elif family == "metaclip_2":
            small_tokenizer(folder, end="</s>", end_id=1, pad_id=0, bos="<s>")
            text = {**small, "vocab_size": 32, "eos_token_id": 1, "bos_token_id": 3, "pad_token_id": 0}
            model = t.MetaClip2Model(t.MetaClip2Config(text_config=text, vision_config=vision, projection_dim=12))
        elif family == "altclip":
            small_tokenizer(folder, end="</s>", end_id=2, pad_id=1, bos="<s>")
            text = {**small, "vocab_size": 32, "project_dim": 10, "max_position_embeddings": 40}
            model = t.AltCLIPModel(t.AltCLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
        else:
            small_tokenizer(folder, end="[SEP]", end_id=1, pad_id=0, bos="[CLS]")
            text = {**small, "vocab_size": 32, "pad_token_id": 0, "max_position_embeddings": 40}
            model = t.ChineseCLIPModel(t.ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
        for parameter in model.parameters():  # the library's tiny initial spread would hide differences
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(str(folder))
    if family == "siglip":
        t.SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(str(folder))
    else:
        sides = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
        t.CLIPImageProcessorPil(**sides).save_pretrained(str(folder))
    return folder


def clip_tokenizer(merges: int = 500) -> Any:
    """Build transformers' CLIP tokenizer from the first of the 48,894 merges that open_clip ships; all of them load
    slowly.
    """
    from open_clip import SimpleTokenizer
    from transformers import CLIPTokenizer

    bpe = SimpleTokenizer()
    kept = [word for word, number in bpe.encoder.items() if number < 512 + merges]
    vocab = {word: i for i, word in enumerate([*kept, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=sorted(bpe.bpe_ranks, key=bpe.bpe_ranks.__getitem__)[:merges])
