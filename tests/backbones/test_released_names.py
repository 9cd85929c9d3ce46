"""The translation of a released file's names does what its table says, and messages say the file's names."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diptych.backbones.released import ReleasedTable, table
from diptych.backbones.released_names import ReadTensors, spelling, translated
from diptych.core import DataError

TABLE = ReleasedTable("a/b", "123")


def numbers(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def test_rows_are_split_joined_stacked_and_left_out() -> None:
    by = replace(
        TABLE,
        rename={
            r"attn\.in_(w|b)": r"q.\1|k.\1|v.\1",
            r"part(\d)": r"whole#\1",
            r"deep\.(\d)": r"deep#\1",
            r"buffer": "",
            r"void\.weight": "void",
        },
        stack=("deep",),
        squeeze=("void",),
    )
    state = {
        "attn.in_w": numbers(6, 2),
        "part1": numbers(1, 2),
        "part0": 9 + numbers(2, 2),
        "deep.0": numbers(3),
        "deep.1": 5 + numbers(3),
        "buffer": numbers(1),
        "void.weight": numbers(1, 4),
        "as it was": numbers(2),
    }
    out, origins = translated(state, by, "file")
    assert sorted(out) == ["as it was", "deep", "k.w", "q.w", "v.w", "void", "whole"]
    assert torch.equal(out["k.w"], numbers(6, 2)[2:4])
    assert out["whole"].tolist() == [[9, 10], [11, 12], [0, 1]]
    assert out["deep"].tolist() == [[0, 1, 2], [5, 6, 7]]
    assert out["void"].shape == (4,)
    assert origins["k.w"] == "attn.in_w"


@pytest.mark.parametrize(
    ("rename", "names", "said"),
    [
        ({r"[ab]": "x"}, {"a": (2,), "b": (2,)}, "two tensors for x, a and b"),
        ({r"a": "q|k|v"}, {"a": (4, 2)}, r"a of the shape \(4, 2\), whose rows are no 3 equal parts"),
        ({r"p(\d)": r"x#\1"}, {"p0": (2,), "p2": (2,)}, "lacks p1, beside p2: it is"),
        (
            {r"p(\d)": r"x#\1"},
            {"p0": (2, 3), "p1": (2, 2), "p2": (2, 2)},
            r"^file has p0 of the shape \(2, 3\), and p1 of \(2, 2\), which are parts of one tensor here: it is d",
        ),
        ({r"p(\d)": r"s#\1"}, {"p0": (1, 2, 3), "p1": (1, 3, 2)}, r"^file has p1 of the shape \(1, 3, 2\), and p0 of "),
    ],
)
def test_what_cannot_be_translated_is_named(
    rename: dict[str, str], names: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        translated({k: numbers(*v) for k, v in names.items()}, replace(TABLE, rename=rename), "file")


MAFT = {
    "sem_seg_head.predictor.transformer_self_attention_layers.8.self_attn.in_proj_weight": (6, 2),
    "sem_seg_head.predictor.transformer_self_attention_layers.7.self_attn.in_proj_bias": (6,),
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.5.norm2.bias": (2,),
    "backbone.clip_model.visual.trunk.stages.0.conv.weight": (2,),
    "sem_seg_head.predictor.class_embed.layers.0.bias": (2,),
}


@pytest.mark.parametrize(
    ("slug", "there", "ours", "theirs"),
    [
        ("maft-plus", MAFT, "queries.mask2former.queries.decoder.layers.8.self_attn.k_proj.bias",
         "sem_seg_head.predictor.transformer_self_attention_layers.8.self_attn.in_proj_bias"),
        ("maft-plus", MAFT, "queries.mask2former.pixels.encoder.layers.0.final_layer_norm.weight",
         "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.norm2.weight"),
        ("maft-plus", MAFT, "copy.visual.trunk.stem.0.weight", "backbone.clip_model.visual.trunk.stem.0.weight"),
        ("maft-plus", MAFT, "queries.void", "void_embedding.weight"),
        ("maft-plus", MAFT, "queries.embed.4.bias", "sem_seg_head.predictor.class_embed.layers.2.bias"),
        ("clipinverter", {"decoder.lambdas.0": ()}, "refinement.pull#3", "decoder.lambdas.3"),
        ("clipinverter", {"decoder.lambdas.0": ()}, "adapters.each.1.conv.weight",
         "adapter.medium_mapping.modulation_module_list.0.conv.weight"),
        ("anomalyclip", {"compound_prompts_text.0": (2,)}, "context#0", "ctx_pos"),
        ("anomalyclip", {"ctx_pos": (2,), "ctx_neg": (2,)}, "deep", "compound_prompts_text.0"),
        ("clip2point", {"pre_model.ln_pre.bias": (2,), "adapter1.fusion_ratio": (2,)}, "visual.conv1.weight",
         "pre_model.conv1.weight"),
        ("clip2point", {"adapter1.fusion_ratio": (2,)}, "image.joint.bias", "adapter2.global_f.3.bias"),
        ("astrom3", {"photometry_encoder.encoder.norm.bias": (2,)}, "towers.photometry.norm.weight",
         "photometry_encoder.encoder.norm.weight"),
        ("astrom3", {"photometry_encoder.encoder.norm.bias": (2,), "fc.bias": (2,)}, "towers.photometry.embed.weight",
         "photometry_encoder.enc_embedding.value_embedding.tokenConv.weight"),
        ("astrom3", {"encoder.norm.bias": (2,)}, "towers.photometry.layers.2.norm1.bias",
         "encoder.attn_layers.2.norm1.bias"),
        ("clip-moe", {"visual.proj": (2,)}, "visual.transformer.resblocks.2.mlp.router.weight",
         "visual.transformer.resblocks.2.gate.weight"),
        ("vifi-clip", {"image_encoder.conv1.weight": (2,)}, "visual.proj", "image_encoder.proj"),
        ("vifi-clip", {"image_encoder.conv1.weight": (2,)}, "ln_final.bias", "text_encoder.ln_final.bias"),
        ("coop", {"meta_net.linear1.bias": (2,)}, "net.0.weight", "meta_net.linear1.weight"),
        ("metaclip", {"visual.proj": (2,)}, "visual.conv1.weight", "visual.conv1.weight"),
    ],
)  # fmt: skip
def test_a_tensor_that_is_missing_is_called_as_the_file_would(
    slug: str, there: dict[str, tuple[int, ...]], ours: str, theirs: str
) -> None:
    wrapped = ReadTensors({f"module.{name}": numbers(*shape) for name, shape in there.items()}).without("module.")
    for state, wrapper in ((dict(wrapped), ""), (wrapped, "module.")):
        _, origins = translated(state, table(slug), "file")
        assert spelling(table(slug), origins, "file", wrapper).absent(ours) == wrapper + theirs


def test_tensors_that_are_there_are_called_by_their_own_names() -> None:
    by = replace(TABLE, rename={r"a\.(.+)": r"net.\1"})
    read = ReadTensors({"module.a.x": numbers(1), "head": numbers(1)}).without("module.")
    _, origins = translated(read, by, "file")
    names = spelling(by, origins, "file", read.wrapper)
    assert [names.held(n) for n in ("net.x", "x", "head", "mean")] == ["module.a.x", "module.a.x", "head", "mean"]
    assert [names.absent(n) for n in ("net.y", "y")] == ["module.a.y", "module.a.y"]
