"""The same weights through three libraries are the same tower, on a grid that is not their own."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import timm.models.vision_transformer as vit
import torch
import transformers as hf
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.towers.of import tower_of
from diptych.core import Resampling, UsageError
from diptych.core.backbone import ANTIALIASED, BILINEAR, PLAIN
from tests.support.towers import PATCH, SIDE, close, randomised, spec

WIDTH, HEADS, DEPTH, DIM = 48, 4, 2, 16
RULES = {"antialiased": ANTIALIASED, "plain": PLAIN, "bilinear": BILINEAR}


def three() -> dict[str, nn.Module]:
    """A CLIP ViT of open_clip, and its weights as transformers and timm name them."""
    openclip: Any = randomised(VisionTransformer(SIDE, PATCH, WIDTH, DEPTH, HEADS, 2.0, output_dim=DIM), seed=3)
    config = hf.CLIPConfig(
        vision_config={
            "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": DEPTH, "hidden_act": "gelu",
            "num_attention_heads": HEADS, "image_size": SIDE, "patch_size": PATCH, "attn_implementation": "eager",
        },
        text_config={"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1},
        projection_dim=DIM,
    )  # fmt: skip
    transformers_clip: Any = hf.CLIPModel(config).eval()
    timm: Any = vit.VisionTransformer(
        SIDE, PATCH, num_classes=DIM, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2.0, pre_norm=True,
        norm_layer=nn.LayerNorm,
    ).eval()  # fmt: skip
    w = openclip.state_dict()
    other: dict[str, Tensor] = {
        "embeddings.class_embedding": w["class_embedding"],
        "embeddings.position_embedding.weight": w["positional_embedding"],
        "embeddings.patch_embedding.weight": w["conv1.weight"],
    }
    trunk: dict[str, Tensor] = {
        "cls_token": w["class_embedding"][None, None],
        "pos_embed": w["positional_embedding"][None],
        "patch_embed.proj.weight": w["conv1.weight"],
        "head.weight": w["proj"].T,
        "head.bias": torch.zeros(DIM),
    }
    for kind in ("weight", "bias"):
        for ours, theirs, timms in (("ln_pre", "pre_layrnorm", "norm_pre"), ("ln_post", "post_layernorm", "norm")):
            other[f"{theirs}.{kind}"] = trunk[f"{timms}.{kind}"] = w[f"{ours}.{kind}"]
        for i in range(DEPTH):
            block = f"transformer.resblocks.{i}"
            fused = w[f"{block}.attn.in_proj_{kind}"]
            trunk[f"blocks.{i}.attn.qkv.{kind}"] = fused
            for part, name in zip(fused.chunk(3), ("q_proj", "k_proj", "v_proj"), strict=True):
                other[f"encoder.layers.{i}.self_attn.{name}.{kind}"] = part
            for ours, theirs, timms in (
                ("attn.out_proj", "self_attn.out_proj", "attn.proj"),
                ("ln_1", "layer_norm1", "norm1"),
                ("ln_2", "layer_norm2", "norm2"),
                ("mlp.c_fc", "mlp.fc1", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2", "mlp.fc2"),
            ):
                value = w[f"{block}.{ours}.{kind}"]
                other[f"encoder.layers.{i}.{theirs}.{kind}"] = trunk[f"blocks.{i}.{timms}.{kind}"] = value
    transformers_clip.vision_model.load_state_dict(other)
    transformers_clip.visual_projection.load_state_dict({"weight": w["proj"].T})
    timm.load_state_dict(trunk)
    return {"open_clip": openclip, "transformers": transformers_clip, "timm": timm}


MODULES = three()


def vectors(module: nn.Module, x: Tensor, rule: Resampling) -> Tensor:
    tower: Any = tower_of(module, "image", spec("three"))
    out: Tensor = tower.project(tower.pooled(tower.blocks(tower.start(x, positions=rule))))
    return out


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (64, 48)])
@torch.no_grad()
def test_one_rule_gives_one_vector_through_every_library(rule: Resampling, size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    every = {name: vectors(module, x, rule) for name, module in MODULES.items()}
    assert all(close(every[a], every[b]) for a, b in combinations(every, 2))


@torch.no_grad()
def test_the_rules_differ_off_the_native_grid_only() -> None:
    native, wider = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 48)
    for module in MODULES.values():
        for a, b in combinations(RULES.values(), 2):
            assert torch.equal(vectors(module, native, a), vectors(module, native, b))
            assert not close(vectors(module, wider, a), vectors(module, wider, b))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@torch.no_grad()
def test_positions_of_the_stem_are_the_table_interpolated(rule: Resampling) -> None:
    module: Any = MODULES["open_clip"]
    tower: Any = tower_of(module, "image", spec("three"))
    stages: dict[str, Tensor] = {}

    def edit(stage: str, i: int, s: Any) -> Any:
        stages[stage] = s.h
        return s

    tower.start(torch.randn(1, 3, 24, 40), edit=edit, positions=rule)
    table = module.positional_embedding[1:].T.reshape(1, WIDTH, 4, 4)
    expected = F.interpolate(table, (3, 5), mode=rule.mode, antialias=rule.antialias, align_corners=False)
    added = stages["positioned"][0, 1:] - stages["patches"][0]
    torch.testing.assert_close(added, expected[0].flatten(1).T, atol=1e-5, rtol=1e-5)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UsageError, match="nearest"):
        Resampling("nearest")  # type: ignore[arg-type]
