"""Where parameters stand in their towers."""

from __future__ import annotations

import pytest

from diptych.train.layers import depths, last_layers, tower_of

NAMES = {
    "open_clip": (
        "visual.conv1.weight",
        "visual.ln_pre.bias",
        "visual.transformer.resblocks.0.mlp.c_fc.weight",
        "visual.transformer.resblocks.11.mlp.c_fc.weight",
        "visual.ln_post.weight",
        "visual.proj",
    ),
    "timm": (
        "visual.trunk.patch_embed.proj.weight",
        "visual.trunk.pos_embed",
        "visual.trunk.blocks.0.attn.qkv.weight",
        "visual.trunk.blocks.1.attn.qkv.weight",
        "visual.trunk.norm.weight",
        "visual.head.proj.weight",
    ),
    "transformers": (
        "vision_model.embeddings.patch_embedding.weight",
        "vision_model.pre_layrnorm.weight",
        "vision_model.encoder.layers.0.mlp.fc1.weight",
        "vision_model.encoder.layers.1.mlp.fc1.weight",
        "vision_model.post_layernorm.weight",
        "vision_model.head.weight",
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_stem_blocks_and_end(kind: str) -> None:
    assert list(depths(NAMES[kind]).values()) == [("image", d) for d in (3, 3, 2, 1, 0, 0)]


def test_blocks_of_stages_are_counted_through() -> None:
    names = [f"visual.trunk.stages.{s}.blocks.{b}.w" for s in range(2) for b in range(2)]
    assert [d for _, d in depths(names).values()] == [4, 3, 2, 1]


def test_the_blocks_of_resnets_are_named_by_their_stage() -> None:
    names = (
        "visual.conv1.weight",
        "visual.bn3.bias",
        "visual.layer1.0.conv1.weight",
        "visual.layer1.0.bn3.weight",
        "visual.layer1.1.conv3.weight",
        "visual.layer2.0.downsample.0.weight",
        "visual.attnpool.positional_embedding",
        "visual.attnpool.q_proj.weight",
    )
    assert [d for _, d in depths(names).values()] == [4, 4, 3, 3, 2, 1, 0, 0]


def test_a_stem_of_stages_is_one_stem() -> None:
    names = ("visual.trunk.patch_embed.backbone.stages.1.2.w", "visual.trunk.blocks.0.w", "visual.trunk.blocks.1.w")
    assert [d for _, d in depths(names).values()] == [3, 2, 1]


def test_what_follows_the_blocks_has_none_itself() -> None:
    """CoCa's decoder and the slots of GRAIN have layers, which are not those of the tower."""
    names = (
        "text.cls_emb",
        "text.transformer.resblocks.0.w",
        "text.transformer.resblocks.1.w",
        "text_decoder.resblocks.0.w",
        "text_decoder.cross_attn.1.w",
        "visual.transformer.resblocks.0.w",
        "visual.attn_pool.layers.0.own.out_proj.weight",
    )
    assert [d for _, d in depths(names).values()] == [3, 2, 1, 0, 0, 1, 0]


def test_a_model_inside_another_has_its_own_blocks_alone() -> None:
    """As in LLM2CLIP, whose adaptor has blocks too."""
    inside = tuple("base." + n for n in NAMES["open_clip"])
    found = depths((*inside, "base.logit_scale", "adaptor.blocks.0.1.weight", "adaptor.out.1.bias"))
    assert found == dict(zip(inside, depths(NAMES["open_clip"]).values(), strict=True))
    assert (tower_of("base.visual.proj"), tower_of("base.logit_scale"), tower_of("adaptor.out.1.bias")) == (
        "image",
        "",
        "text",
    )


def test_scales_belong_to_no_tower_and_texts_to_theirs() -> None:
    names = ("logit_scale", "transformer.resblocks.0.w", "token_embedding.weight", "text_projection")
    assert depths(names) == {names[1]: ("text", 1), names[2]: ("text", 2), names[3]: ("text", 0)}
    assert tower_of("logit_bias") == ""


def test_the_last_layers_of_a_tower() -> None:
    names = (*NAMES["open_clip"], "transformer.resblocks.0.w", "text_projection")
    assert last_layers(names, "image", 0) == set()
    assert last_layers(names, "image", 1) == {"visual.ln_post.weight", "visual.proj"}
    assert last_layers(names, "image", 2) - last_layers(names, "image", 1) == {
        "visual.transformer.resblocks.11.mlp.c_fc.weight"
    }
