"""Where parameters stand in their towers."""

from __future__ import annotations

import copy
import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diptych.core import MissingHook, Run, Table, Texts, UsageError
from diptych.features.vectors import Vectors
from diptych.train.layers import compiled, depths, last_layers, tower_of
from diptych.train.loop import train
from diptych.train.schedule import Fit
from diptych.train.step import Step

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


COMPILER = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def tower() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"blocks": nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.GELU()) for _ in range(2))})


def is_compiled(module: nn.ModuleDict) -> list[bool]:
    return [block._compiled_call_impl is not None for block in module["blocks"]]  # type: ignore[union-attr]


def trained(on: bool) -> tuple[nn.ModuleDict, list[list[bool]]]:
    """Return a tower after four steps, and whether it and a copy of it were compiled during them."""
    module = tower()

    def loss(batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        x = batch["x"]
        for block in module["blocks"]:  # type: ignore[union-attr]
            x = block(x)
        return {"square": x.square().mean()}

    rows = Table(Vectors(torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), Texts(tuple("abcdefgh"))))
    seen: list[list[bool]] = []

    def watch(step: int) -> dict[str, float]:
        seen.extend((is_compiled(module), is_compiled(copy.deepcopy(module))))
        return {}

    step = Step(module, lambda row, g: {"x": row.item}, loss)
    train(step, rows, Fit(0.1, 4, steps=4, optimizer="sgd", compile=on, watch_every=2), Run(workers=0), watch=watch)
    return module, seen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what torch's compiler warns of is its own
@pytest.mark.skipif(shutil.which(COMPILER) is None, reason="torch compiles for a CPU by a C++ compiler")
def test_compiled_blocks_train_alike_and_are_eager_afterwards() -> None:
    (eager, never), (fast, during) = trained(False), trained(True)
    assert never == [[False, False]] * 2
    assert during == [[True, True], [False, False]]
    assert is_compiled(fast) == [False, False]
    for name, p in eager.named_parameters():
        torch.testing.assert_close(fast.get_parameter(name), p, rtol=1e-5, atol=1e-6, msg=name)


def test_what_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingHook, match="no towers of blocks"), compiled(nn.Linear(2, 2)):
        pass
    monkeypatch.setenv("CXX", "no-such-compiler")
    if sys.platform != "win32":
        with pytest.raises(UsageError, match="there is no no-such-compiler"), compiled(tower()):
            pass


def test_without_a_module_nothing_is_compiled() -> None:
    with compiled(None):
        pass
