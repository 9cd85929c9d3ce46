"""Released files of fitted systems, small, with the authors' names: converted, kept, and equal to a transcription."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych import catalog
from diptych.backbones.released import slugs, table
from diptych.core import Backbone, ClassNames, DataError, EditAsk, Kit, MissingHook, Run, UsageError
from diptych.core.settings import with_settings
from diptych.data.words.templates import VILD
from diptych.features import portable
from diptych.methods.classify.coop import FittedCoOp
from diptych.methods.edit.galip import GALIP
from diptych.nn.bridge_gan import BridgeGenerator
from diptych.nn.dense.anomaly_states import state_head
from diptych.nn.dense.content_transfer import mixed_cells
from diptych.nn.dense.mask_adapted import MaskedEncoder
from diptych.nn.dense.mask_queries import MaskQueries, four_maps, map_channels
from diptych.nn.dense.patches import cell_embeddings
from diptych.nn.prompts.soft import slots
from diptych.nn.tuned_image import TunedEncoder
from diptych.tasks.released import chosen, convert
from tests.support.checkpoints import gap
from tests.support.small_clip import small_clip

NAMES = ClassNames(("cat", "red barn"))
State = dict[str, Tensor]
SMALL_MASKS = {"layout.width": 64, "layout.queries": 4, "layout.encoder": 1, "layout.decoder": 1, "side": 64}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "convnext", "convnext")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def came(slug: str, state: Any, backbone: Backbone, folder: Path, **given: Any) -> Any:
    """Write a file, convert it, and return what its folder holds."""
    path = folder / "file.pth"
    torch.save(state, path)
    out = folder / "out"
    convert(slug, path, out, Run(), backbone=lambda: backbone, **given)
    return portable.load(out, Kit.of(backbone))


def test_a_file_that_is_not_there_is_named_before_a_backbone_is_loaded(tmp_path: Path) -> None:
    def loaded() -> Backbone:
        raise AssertionError

    with pytest.raises(UsageError, match=r"There is no weight file .*ctx\.pth: check the path"):
        convert("coop", tmp_path / "ctx.pth", tmp_path / "out", Run(), released="coop", backbone=loaded, classes=NAMES)


# --- CoOp and CoCoOp


def prompt_text(module: Any, name: str, context: Tensor) -> Tensor:
    """Encode "X .. X NAME." with the vectors in the places of the X, as the authors build it."""
    ids = open_clip.tokenize([" ".join(["X"] * len(context)) + f" {name}."])
    x = module.token_embedding(ids)
    x = torch.cat([x[:, :1], context[None], x[:, 1 + len(context) :]], dim=1) + module.positional_embedding
    x = module.ln_final(module.transformer(x, attn_mask=module.attn_mask))
    out: Tensor = x[0, ids.argmax()] @ module.text_projection
    return out


def test_coops_contexts(vit: Backbone, tmp_path: Path) -> None:
    state = {"ctx": drawn(4, 16).half(), "token_prefix": drawn(2, 1, 16), "token_suffix": drawn(2, 72, 16)}
    fitted = came("coop", {"state_dict": state, "epoch": 50}, vit, tmp_path, released="coop", classes=NAMES)
    assert isinstance(fitted, FittedCoOp)
    z = F.normalize(drawn(3, 12), dim=-1)
    with torch.no_grad():
        texts = torch.stack([prompt_text(vit.module(), n, state["ctx"].float()) for n in NAMES.names])
        expected = vit.scale()[0] * z @ F.normalize(texts, dim=-1).T
    assert gap(logits_of(vit, fitted, z), expected) <= 1e-5


def logits_of(backbone: Backbone, fitted: FittedCoOp, z: Tensor) -> Tensor:
    from diptych.nn.prompts.conditional import prompt_logits

    where = slots(backbone, fitted.classes.names, fitted.prompt["context"].shape[-2], fitted.position)
    with torch.no_grad():
        return prompt_logits(backbone, where, fitted.prompt, z)


def test_cocoops_network(vit: Backbone, tmp_path: Path) -> None:
    state = {
        "ctx": drawn(4, 16), "meta_net.linear1.weight": drawn(1, 12), "meta_net.linear1.bias": drawn(1),
        "meta_net.linear2.weight": drawn(16, 1), "meta_net.linear2.bias": drawn(16),
    }  # fmt: skip
    fitted = came("coop", state, vit, tmp_path, released="cocoop", classes=NAMES)
    z = F.normalize(drawn(3, 12), dim=-1)
    hidden = (z @ state["meta_net.linear1.weight"].T + state["meta_net.linear1.bias"]).relu()
    shifts = hidden @ state["meta_net.linear2.weight"].T + state["meta_net.linear2.bias"]
    with torch.no_grad():
        rows = [
            torch.stack([prompt_text(vit.module(), n, state["ctx"] + shift) for n in NAMES.names]) for shift in shifts
        ]
        expected = [vit.scale()[0] * one @ F.normalize(texts, dim=-1).T for one, texts in zip(z, rows, strict=True)]
    assert gap(logits_of(vit, fitted, z), torch.stack(expected)) <= 1e-5


# --- AnomalyCLIP


def test_anomalyclips_prompts(vit: Backbone, tmp_path: Path) -> None:
    state = {
        "ctx_pos": drawn(1, 1, 3, 16), "ctx_neg": drawn(1, 1, 3, 16, seed=1),
        "compound_prompts_text.0": drawn(2, 16), "compound_prompt_projections.0.weight": drawn(8, 16),
        "token_prefix_pos": drawn(1, 1, 1, 16), "tokenized_prompts_neg": torch.ones(1, 1, 77, dtype=torch.int64),
    }  # fmt: skip
    settings = {"length": 3, "deep": 2, "depth": 2, "side": 32}
    fitted = came("anomalyclip", {"prompt_learner": state}, vit, tmp_path, settings=settings)
    module: Any = vit.module()
    expected = []
    with torch.no_grad():
        for key, words in (("ctx_pos", "object"), ("ctx_neg", "damaged object")):
            ids = open_clip.tokenize([f"X X X {words}."])
            x = module.token_embedding(ids)
            x = torch.cat([x[:, :1], state[key][0], x[:, 4:]], dim=1) + module.positional_embedding
            first, second = module.transformer.resblocks
            x = first(x, attn_mask=module.attn_mask)
            x = torch.cat([x[:, :1], state["compound_prompts_text.0"].half().float()[None], x[:, 3:]], dim=1)
            x = module.ln_final(second(x, attn_mask=module.attn_mask))
            expected.append(F.normalize(x[0, ids.argmax()] @ module.text_projection, dim=-1))
        head = state_head(vit.tower("text"), slots(vit, ("object", "damaged object"), 3), fitted.prompts)
    assert gap(head, torch.stack(expected)) <= 1e-5
    assert fitted.method.layers == (1.0,)


# --- CLIP-DINOiser, OVSeg, NoLA


def test_clip_dinoisers_convolutions(vit: Backbone, tmp_path: Path) -> None:
    state = {
        "obj_proj.weight": drawn(256, 32, 3, 3), "obj_proj.bias": drawn(256),
        "bkg_decoder.weight": drawn(1, 32, 1, 1), "bkg_decoder.bias": drawn(1),
    }  # fmt: skip
    fitted = came("clip-dinoiser", {"epoch": 1, "model_state_dict": state}, vit, tmp_path, classes=NAMES)
    g = drawn(1, 32, 4, 5)
    wide = F.pad(g, (1, 1, 1, 1), mode="replicate")
    h = F.normalize(F.conv2d(wide, state["obj_proj.weight"], state["obj_proj.bias"]).flatten(2)[0], dim=0)
    assert gap(fitted.affinity(g)[0], h.T @ h) <= 1e-5
    assert torch.equal(fitted.heads["background.weight"], state["bkg_decoder.weight"])
    assert (fitted.method.windows.stride, len(fitted.classes.templates)) == (224, 80)


def ovseg_file(vit: Backbone) -> State:
    whole = vit.module().state_dict()
    tuned = {k: v + drawn(*v.shape) if v.ndim else v for k, v in whole.items() if k.startswith("visual.")}
    state = {f"clip_adapter.clip_model.{k}": v for k, v in {**whole, **tuned}.items()}
    return state | {
        "clip_adapter.clip_model.visual.mask_embedding": drawn(2, 4, 32),
        "clip_adapter.non_object_embedding": drawn(1, 12),
        "clip_adapter.pixel_mean": drawn(1, 3, 1, 1),
        "sem_seg_head.predictor.query_embed.weight": drawn(100, 8),
        "backbone.norm0.weight": drawn(4),
    }


def test_ovsegs_tower_and_prompts(vit: Backbone, tmp_path: Path) -> None:
    state = ovseg_file(vit)
    torch.save({"model": state}, tmp_path / "file.pth")
    settings = {"depth": 2}
    convert("ovseg", tmp_path / "file.pth", tmp_path / "out", Run(), released="ovseg-b16", backbone=lambda: vit,
            classes=NAMES, settings=settings)  # fmt: skip
    kit = Kit({"main": vit, "proposer": chosen_proposer()})
    fitted = portable.load(tmp_path / "out", kit)
    encoder = MaskedEncoder.of(vit, fitted.learnt)
    x, whole = drawn(2, 3, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool)
    visual: Any = type(vit.module().visual)(  # the library's own tower, with the tensors of the file
        image_size=32, patch_size=16, width=32, layers=2, heads=2, mlp_ratio=4.0, output_dim=12,
    ).eval()  # fmt: skip
    prefix = "clip_adapter.clip_model.visual."
    theirs = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    prompts = theirs.pop("mask_embedding")
    visual.load_state_dict(theirs)
    with torch.no_grad():
        assert gap(encoder.encode({"pixels": x, "mask": whole}), visual(x)) <= 1e-5
    assert torch.equal(fitted.learnt["prompts"], prompts)
    assert not fitted.method.antialias  # as the authors resize crops


def chosen_proposer() -> Any:
    from diptych.backbones.sources.proposers import load_proposer

    return load_proposer("ranked-cells")


def test_nolas_head_prompts_and_norms(vit: Backbone, tmp_path: Path) -> None:
    whole = vit.module().state_dict()
    norms = {k for k in whole if re.search(r"visual\.(ln_pre|ln_post|.*\.ln_[12])\.", k)}
    tuned = {k: v + drawn(*v.shape) if k in norms else v for k, v in whole.items()}
    state = {f"clip_model.{k}": v for k, v in tuned.items()}
    state |= {
        "prompt_embeddings": drawn(1, 3, 32),
        "cde_adapter.0.weight": drawn(2, 12),
        "taal.taal_enc.norm": drawn(3),
    }
    fitted = came("nola", {"state_dict": state}, vit, tmp_path, classes=NAMES)
    assert torch.equal(fitted.head, state["cde_adapter.0.weight"])
    encoder = TunedEncoder.of(vit, fitted.learnt)
    visual: Any = type(vit.module().visual)(
        image_size=32, patch_size=16, width=32, layers=2, heads=2, mlp_ratio=4.0, output_dim=12,
    ).eval()  # fmt: skip
    visual.load_state_dict({k.removeprefix("visual."): v for k, v in tuned.items() if k.startswith("visual.")})
    pixels = drawn(2, 3, 32, 32)
    with torch.no_grad():
        x = visual.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.expand(2, 1, -1), x], dim=1) + visual.positional_embedding
        x = visual.ln_pre(x)
        x = torch.cat([x[:, :1], state["prompt_embeddings"].expand(2, -1, -1), x[:, 1:]], dim=1)
        expected = visual.ln_post(visual.transformer(x)[:, 0]) @ visual.proj
        assert gap(encoder.encode(pixels), expected) <= 1e-5
    state["clip_model.visual.conv1.weight"] = state["clip_model.visual.conv1.weight"] + 1
    (tmp_path / "other").mkdir()
    with pytest.raises(
        DataError, match=r"holds a frozen clip_model\.visual\.conv1\.weight that is not the one of local:"
    ):
        came("nola", {"state_dict": state}, vit, tmp_path / "other", classes=NAMES)


# --- FC-CLIP

THEIRS = (
    ("mask2former.pixels.input_projections.", "sem_seg_head.pixel_decoder.input_proj."),
    ("mask2former.pixels.encoder.layers.", "sem_seg_head.pixel_decoder.transformer.encoder.layers."),
    ("mask2former.pixels.level_embed", "sem_seg_head.pixel_decoder.transformer.level_embed"),
    ("mask2former.pixels.mask_projection.", "sem_seg_head.pixel_decoder.mask_features."),
    ("mask2former.pixels.", "sem_seg_head.pixel_decoder."),
    ("mask2former.queries.queries_features.", "sem_seg_head.predictor.query_feat."),
    ("mask2former.queries.queries_embedder.", "sem_seg_head.predictor.query_embed."),
    ("mask2former.queries.level_embed.", "sem_seg_head.predictor.level_embed."),
    ("mask2former.queries.decoder.layernorm.", "sem_seg_head.predictor.decoder_norm."),
    ("before.", "sem_seg_head.predictor._mask_pooling_proj."),
)
PIXELS = {"self_attn_layer_norm": "norm1", "final_layer_norm": "norm2", "fc1": "linear1", "fc2": "linear2"}
DECODER = {
    "self_attn_layer_norm": "transformer_self_attention_layers.0.norm",
    "self_attn.out_proj": "transformer_self_attention_layers.0.self_attn.out_proj",
    "cross_attn_layer_norm": "transformer_cross_attention_layers.0.norm",
    "cross_attn": "transformer_cross_attention_layers.0.multihead_attn",
    "final_layer_norm": "transformer_ffn_layers.0.norm",
    "fc1": "transformer_ffn_layers.0.linear1",
    "fc2": "transformer_ffn_layers.0.linear2",
}


def fc_clip_file(net: MaskQueries) -> State:
    """Return the tensors of a network by the authors' names; one layer in each decoder."""
    state: State = {"criterion.empty_weight": torch.ones(134)}
    split: dict[str, dict[str, Tensor]] = {"weight": {}, "bias": {}}
    for name, value in net.state_dict().items():
        if match := re.fullmatch(r"mask2former\.queries\.decoder\.layers\.0\.self_attn\.([qkv])_proj\.(\w+)", name):
            split[match[2]][match[1]] = value
            continue
        state[theirs(name)] = value[None] if name == "void" else value
    for kind, parts in split.items():
        long = f"sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_{kind}"
        state[long] = torch.cat([parts[p] for p in "qkv"])
    return state


def theirs(name: str) -> str:
    if name in ("void", "log_scale"):
        return {"void": "void_embedding.weight", "log_scale": "sem_seg_head.predictor.logit_scale"}[name]
    if match := re.fullmatch(r"embed\.([024])\.(\w+)", name):
        return f"sem_seg_head.predictor.class_embed.layers.{int(match[1]) // 2}.{match[2]}"
    if match := re.fullmatch(r".*mask_embedder\.(\d)\.0\.(\w+)", name):
        return f"sem_seg_head.predictor.mask_embed.layers.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"mask2former\.pixels\.(adapter_1|layer_1)\.([01])\.(\w+)", name):
        return f"sem_seg_head.pixel_decoder.{match[1]}.{'norm.' if match[2] == '1' else ''}{match[3]}"
    if name.startswith("mask2former.queries.decoder.layers.0."):
        rest = name.removeprefix("mask2former.queries.decoder.layers.0.")
        ours = next(k for k in DECODER if rest.startswith(f"{k}."))
        return f"sem_seg_head.predictor.{DECODER[ours]}.{rest.removeprefix(f'{ours}.')}"
    ours, long = next(pair for pair in THEIRS if name.startswith(pair[0]))
    rest = name.removeprefix(ours)
    if ours.endswith("encoder.layers."):
        for one, other in PIXELS.items():
            rest = rest.replace(f"0.{one}.", f"0.{other}.")
    return long + rest


@pytest.fixture
def masks(conv: Backbone) -> MaskQueries:
    torch.manual_seed(7)
    method: Any = with_settings(catalog.find("fc-clip")(), {**table("fc-clip").file[0].settings, **SMALL_MASKS})
    net = MaskQueries(map_channels(conv), conv.text.dim, method.layout)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return net.eval()


def test_fc_clips_queries(conv: Backbone, masks: MaskQueries, tmp_path: Path) -> None:
    state = fc_clip_file(masks)
    state |= {f"backbone.clip_model.{k}": v for k, v in conv.module().state_dict().items() if "num_batches" not in k}
    fitted = came("fc-clip", {"model": state, "iteration": 1}, conv, tmp_path, classes=NAMES, settings=SMALL_MASKS,
                  released="fc-clip")  # fmt: skip
    assert fitted.method.empty == "both"  # as the authors for ConvNeXts
    assert (fitted.seen, fitted.trained.names) == ((True, True), NAMES.names)
    assert fitted.trained.templates == VILD
    x = drawn(1, 3, 64, 64)
    with torch.no_grad():
        maps = four_maps(conv.dense(), conv.dense().maps(x))
        for ours, expected in zip(fitted._network(maps), masks(maps), strict=True):
            assert torch.equal(ours.masks, expected.masks)
            assert torch.equal(ours.vectors, expected.vectors)
        attention = nn.MultiheadAttention(64, 8, batch_first=True)  # the module whose rows the file has in one tensor
        prefix = "sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn."
        attention.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        own: Any = fitted._network.mask2former.queries.decoder.layers[0].self_attn
        h = drawn(1, 4, 64)
        got = own(h.transpose(0, 1), position_embeddings=torch.zeros(4, 1, 64))[0]
        expected = attention(h, h, h, need_weights=False)[0].transpose(0, 1)
        assert gap(got, expected) <= 1e-5
    assert len(list(fitted.regions([], Run()))) == 0  # type: ignore[arg-type]


def sine_code(height: int, width: int, dim: int) -> Tensor:
    """Return (h w, D): DETR's code, rows and then columns, positions counted from 1 and scaled to 2 pi."""
    each = torch.arange(dim // 2)
    rate = 10000 ** (2 * (each // 2) / (dim // 2))

    def code(count: int) -> Tensor:
        angle = (torch.arange(1, count + 1) / (count + 1e-6) * 2 * torch.pi)[:, None] / rate
        return torch.where(each % 2 == 0, angle.sin(), angle.cos())

    rows, columns = code(height), code(width)
    return torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], -1).flatten(0, 1)


@pytest.mark.parametrize(("released", "semantic"), [("maft-plus-l", True), ("maft-plus-l-panoptic", False)])
def test_maft_plus_as_released(
    conv: Backbone, masks: MaskQueries, tmp_path: Path, released: str, semantic: bool
) -> None:
    whole = {k: v for k, v in conv.module().state_dict().items() if "num_batches" not in k}
    tuned = {
        k: v + drawn(*v.shape) / 9 if re.match(r"visual\.trunk\.(stem|stages)", k) else v for k, v in whole.items()
    }
    state = fc_clip_file(masks) | {f"backbone.clip_model.{k}": v for k, v in tuned.items()}
    state |= {f"backbone_t.clip_model.{k}": v for k, v in whole.items()}
    attention, out, norm = nn.MultiheadAttention(12, 2, batch_first=True), nn.Linear(12, 12), nn.LayerNorm(12)
    nn.init.normal_(norm.weight)
    for name, part in (("multihead_attn", attention), ("MLP", out), ("norm", norm)):
        state |= {f"cdt.cross_atten.{name}.{k}": v for k, v in part.state_dict().items()}
    settings = {**SMALL_MASKS, "width": 12, "heads": 2}
    fitted = came("maft-plus", {"model": state}, conv, tmp_path, classes=NAMES, settings=settings, released=released)
    visual: Any = fitted.tuned.space.module().visual
    x = drawn(1, 3, 64, 128)
    with torch.no_grad():
        last = fitted.tuned.space.dense().maps(x)[-1]
        height, width = last.shape[2:]
        rows = last.reshape(height * width, -1)  # as the released code does, without moving the channels
        cells = visual.head(visual.trunk.head(rows[:, :, None, None])).reshape(1, height * width, 12)
        words = fitted.words.vectors[None]
        keys = cells + sine_code(height, width, 12)
        moved = out(attention(words, keys, cells, need_weights=False)[0])
        seen = norm(words + moved) if semantic else words + norm(moved)
        q = F.normalize(drawn(1, 4, 12), dim=-1)
        expected = (conv.scale()[0] * q @ seen.transpose(1, 2)).softmax(-1)
        got = fitted.tuned.transfer(
            fitted.words.vectors, cell_embeddings(fitted.tuned.space.dense(), mixed_cells(last)).float()
        )
        assert gap((conv.scale()[0] * q @ got.transpose(1, 2)).softmax(-1), expected) <= 1e-5
        assert gap(got, seen) <= 1e-5
    assert torch.equal(visual.trunk.state_dict()["stem.0.weight"], tuned["visual.trunk.stem.0.weight"])
    del state["cdt.cross_atten.norm.bias"]
    (tmp_path / "less").mkdir()
    with pytest.raises(DataError, match=r"1 missing \(cdt\.cross_atten\.norm\.bias\)"):
        came("maft-plus", {"model": state}, conv, tmp_path / "less", classes=NAMES, settings=settings,
             released=released)  # fmt: skip


def test_a_tensor_that_is_renamed_dropped_or_turned_is_named(
    conv: Backbone, vit: Backbone, masks: MaskQueries, tmp_path: Path
) -> None:
    turned = "sem_seg_head.predictor.transformer_ffn_layers.0.linear1.weight"
    changes: list[tuple[Callable[[State], Any], str]] = [
        (lambda s: s.update({"sem_seg_head.predictor.query": s.pop("sem_seg_head.predictor.query_feat.weight")}),
         r"1 missing \(sem_seg_head\.predictor\.query_feat\.weight\); 1 un.* \(sem_seg_head\.predictor\.query\)"),
        (lambda s: s.pop("void_embedding.weight"), r"1 missing \(void_embedding\.weight\): .* get it again"),
        (lambda s: s.update({turned: s[turned].T}), rf"another shape \({turned}\)"),
        (lambda s: s.update({"backbone.clip_model.ln_final.bias": torch.ones(16)}),
         r"file\.pth holds a frozen backbone\.clip_model\.ln_final\.bias"),
    ]  # fmt: skip
    for n, (change, said) in enumerate(changes):
        state = fc_clip_file(masks)
        change(state)
        (tmp_path / str(n)).mkdir()
        with pytest.raises(DataError, match=said):
            came("fc-clip", {"model": state}, conv, tmp_path / str(n), classes=NAMES, settings=SMALL_MASKS,
                 released="fc-clip")  # fmt: skip
        assert not (tmp_path / str(n) / "out").exists()
    state = ovseg_file(vit)
    del state["clip_adapter.clip_model.visual.proj"]
    (tmp_path / "ovseg").mkdir()
    with pytest.raises(DataError, match=r"1 missing \(clip_adapter\.clip_model\.visual\.proj\)"):
        came("ovseg", {"model": state}, vit, tmp_path / "ovseg", released="ovseg-b16", classes=NAMES,
             settings={"depth": 2})  # fmt: skip


# --- GALIP


SMALL_GAN = {"size": 32, "noise": 5, "width": 8, "least": 2, "bridge": 8}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "quick", "vit-quickgelu")


def galip_name(name: str) -> str:
    """Return what the authors call a tensor of the generator."""
    top, _, rest = name.partition(".")
    if top not in ("bridge", "grow"):
        tops = {"start": "fc_code", "to_vit": "mapping.conv_fuse", "from_vit": "mapping.conv", "to_rgb": "to_rgb.1",
                "prompts": "mapping.fc_prompt"}  # fmt: skip
        return f"{tops[top]}.{rest}"
    number, part, rest = rest.split(".", 2)
    blocks, names = ("mapping.FBlocks", ("conv1", "conv2")) if top == "bridge" else ("GBlocks", ("c1", "c2"))
    parts = {"first": names[0], "second": names[1], "one": "fuse1", "two": "fuse2", "skip": "c_sc"}
    if part in ("one", "two"):
        _, k, layer, kind = rest.split(".")
        rest = f"affine{int(k) // 2}.fc_{('gamma', 'beta')[int(k) % 2]}.linear{1 + int(layer) // 2}.{kind}"
    return f"{blocks}.{number}.{parts[part]}.{rest}"


def galip_file(backbone: Backbone) -> dict[str, Any]:
    """Return a file as the authors write it after training on several GPUs, small."""
    net = BridgeGenerator(GALIP(**SMALL_GAN).layout(backbone))
    state = {galip_name(n): drawn(*t.shape, seed=i) for i, (n, t) in enumerate(net.state_dict().items())}
    tower = {k: t for k, t in backbone.module().state_dict().items() if k.startswith("visual.")}
    kept = [k for k in tower if not k.startswith(("visual.ln_post", "visual.proj"))]
    state |= {k.replace("visual.", "mapping.CLIP_ViT."): tower[k].half() for k in kept}
    net_g = {f"module.{k}": t for k, t in state.items()}
    return {"model": {"netG": net_g, "netD": {"module.gamma": torch.ones(1)}, "netC": {}}, "epoch": 7}


def galip_fusion(state: State, prefix: str, h: Tensor, y: Tensor) -> Tensor:
    for affine in ("affine0", "affine1"):
        gain, offset = (
            F.linear(
                F.linear(y, *(state[f"{prefix}.{affine}.fc_{kind}.linear1.{w}"] for w in ("weight", "bias"))).relu(),
                *(state[f"{prefix}.{affine}.fc_{kind}.linear2.{w}"] for w in ("weight", "bias")),
            )[:, :, None, None]
            for kind in ("gamma", "beta")
        )
        h = F.leaky_relu(gain * h + offset, 0.2)
    return h


def test_galips_generator(quick: Backbone, tmp_path: Path) -> None:
    """The first block of the bridge and the first of the pictures, transcribed from the authors' names."""
    file = galip_file(quick)
    fitted = came("galip", file, quick, tmp_path, settings=SMALL_GAN)
    state = {k.removeprefix("module."): t for k, t in file["model"]["netG"].items()}
    y, h = drawn(2, 5 + quick.spec.dim), drawn(2, 8, 2, 2)

    def conv(name: str, x: Tensor, pad: int = 1) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=pad)

    m = "mapping.FBlocks.0"
    inner = galip_fusion(state, f"{m}.fuse1", conv(f"{m}.conv1", h), y)
    expected = h + galip_fusion(state, f"{m}.fuse2", conv(f"{m}.conv2", inner), y)
    assert gap(fitted.generator.bridge[0](h, y), expected) <= 1e-5
    last = len(fitted.generator.grow) - 1
    g, x = f"GBlocks.{last}", drawn(2, 4, 8, 8)
    inner = conv(f"{g}.c1", galip_fusion(state, f"{g}.fuse1", x, y))
    expected = conv(f"{g}.c_sc", x, 0) + conv(f"{g}.c2", galip_fusion(state, f"{g}.fuse2", inner, y))
    assert gap(fitted.generator.grow[last](x, y), expected) <= 1e-5
    made = fitted.edit(EditAsk("", "a red wall", count=2), Run(seed=1))
    assert made.after.shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("module.fc_code.bias"), r"1 missing \(module\.fc_code\.bias\)"),
        (
            lambda s: s.update({"module.fc.bias": s.pop("module.fc_code.bias")}),
            r"\(module\.fc_code\.bias\); 1 unexpected \(module\.fc\.bias\)",
        ),
        (
            lambda s: s.update({"module.fc_code.weight": s["module.fc_code.weight"].T}),
            r"another shape \(module\.fc_code\.weight\)",
        ),
        (
            lambda s: s["module.mapping.CLIP_ViT.ln_pre.bias"].add_(1),
            r"a frozen module\.mapping\.CLIP_ViT\.ln_pre\.bias that is not the one",
        ),
    ],
)
def test_a_generator_that_does_not_fit_is_named(
    quick: Backbone, tmp_path: Path, change: Callable[[State], Any], said: str
) -> None:
    file = galip_file(quick)
    change(file["model"]["netG"])
    with pytest.raises(DataError, match=said):
        came("galip", file, quick, tmp_path, settings=SMALL_GAN)


# --- what is asked for


def test_what_a_file_does_not_say_is_asked_for(vit: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar-50"
    torch.save({"state_dict": {"ctx": drawn(4, 16)}, "scheduler": argparse.Namespace(epoch=1)}, path)
    with pytest.raises(UsageError, match=r"coop is not a complete CLIP: give backbone"):
        convert("coop", path, tmp_path / "out", Run())
    with pytest.raises(
        UsageError, match=r"take them out once.*s\[\"state_dict\"\].*model\.pth\.tar-50\.tensors\.pt\"\)'\.$"
    ):
        convert("coop", path, tmp_path / "out", Run(), backbone=lambda: vit)
    torch.save({"ctx": drawn(4, 16)}, path)
    with pytest.raises(UsageError, match=r"CoOp does not hold the names of the classes.*give names"):
        convert("coop", path, tmp_path / "out", Run(), backbone=lambda: vit)
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists: name another folder"):
        convert("coop", path, tmp_path / "there", Run(), backbone=lambda: vit)


def test_which_released_file_it_is() -> None:
    assert chosen("long-clip", Path("a/longclip-B.pt")).name == "long-clip-b"
    assert chosen("long-clip", Path("x.pt"), "long-clip-l").name == "long-clip-l"
    assert chosen("nola", Path("anything.pt")).name == "nola"
    for end in ("", ".tensors.pt"):  # the trainer's file, and the tensors that were taken out of it
        assert chosen("coop", Path(f"a/model.pth.tar-10{end}")).name == "cocoop"
        assert chosen("coop", Path(f"a/model.pth.tar-50{end}")).name == "coop"
    assert chosen("laclip", Path("cc3m_laclip.pt")).name == chosen("laclip", Path("cc3m_clip.tensors.pt")).name
    for slug, name, said in (
        ("long-clip", "", r"several released files: give released, one of long-clip-b, long-clip-l"),
        ("long-clip", "coop", r"'coop' is not a released file of long-clip"),
        ("glsim", "", "glsim is not read here: its tower"),
        ("sam-clip", "", "There is no released file of sam-clip: none by the authors were found"),
        ("zero-shot", "", "no released file of zero-shot: no released file is read here"),
    ):
        with pytest.raises(UsageError, match=said):
            chosen(slug, Path("x.pt"), name)


def test_every_published_system_says_what_is_released() -> None:
    for card in catalog.cards():
        said = (card["slug"] in slugs()) + bool(card["released"])
        assert said == (not card["baseline"]), card["slug"]


def test_systems_without_a_reader_say_so() -> None:
    with pytest.raises(MissingHook, match="No released file of GDA is read here: see 'diptych systems gda'"):
        catalog.find("gda")().from_released({}, Kit({}), None, Run())


def test_tables_of_fitted_systems_set_what_the_systems_have() -> None:
    for slug in slugs():
        for one in table(slug).file:
            if not (one.architecture or one.unread):
                with_settings(catalog.find(slug)(), dict(one.settings))
                json.dumps(dict(one.settings))
