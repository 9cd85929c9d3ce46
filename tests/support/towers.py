"""Small random models of every family that towers cut, each with the library's own answers beside it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import timm.models.eva as eva
import timm.models.vision_transformer as vit
import torch
import transformers as hf
from open_clip.hf_model import HFTextEncoder
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer, VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem, HybridEmbed
from torch import Tensor, nn

from diptych.backbones.towers.of import tower_of
from diptych.core import PixelRecipe, Spec, State
from diptych.testing.backbones import randomised

SIDE, PATCH, LENGTH, WORDS = 32, 8, 12, 60
END, PAD = 59, 0


@dataclass(frozen=True)
class Case:
    """A module, inputs, the library's vectors, and the library's block i on a state."""

    name: str
    modality: str
    module: nn.Module
    x: Tensor
    forward: Callable[[Tensor], Tensor]
    block: Callable[[int, State], Tensor]
    pooling: str = ""

    @property
    def tower(self) -> Any:
        return tower_of(self.module, self.modality, spec(self.name, self.pooling))


def spec(name: str, pooling: str = "") -> Spec:
    pixels = PixelRecipe(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Spec(name, "test", name, "random:0", "gelu", "none", LENGTH, PAD, pooling, 16, pixels)


def pixels(side: int = SIDE, count: int = 3) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def sentences() -> Tensor:
    """Start id 1, words, one end token, padding: three lengths."""
    ids = torch.randint(2, END, (3, LENGTH), generator=torch.Generator().manual_seed(2))
    for row, end in enumerate((4, 7, 11)):
        ids[row, 0], ids[row, end], ids[row, end + 1 :] = 1, END, PAD
    return ids


def _oc_block(blocks: Any, heads: int) -> Callable[[int, State], Tensor]:
    def block(i: int, s: State) -> Tensor:
        bias = s.bias
        if bias is not None:
            bias = bias[0, 0] if len(bias) == 1 else bias.expand(-1, heads, -1, -1).flatten(0, 1)
        out: Tensor = blocks[i](s.h, attn_mask=bias)
        return out

    return block


def _hf_block(layers: Any) -> Callable[[int, State], Tensor]:
    def block(i: int, s: State) -> Tensor:
        bias = None if s.bias is None else s.bias.clamp_min(torch.finfo(s.h.dtype).min)
        out = layers[i](s.h, bias)
        return out[0] if isinstance(out, tuple) else out

    return block


def oc_image(name: str, **options: Any) -> Case:
    size = {
        "image_size": SIDE,
        "patch_size": PATCH,
        "width": 48,
        "layers": 3,
        "heads": 4,
        "mlp_ratio": 2.0,
        "output_dim": 16,
    }
    v = randomised(VisionTransformer(**(size | options)))
    return Case(name, "image", v, pixels(), v, _oc_block(v.transformer.resblocks, 4))  # type: ignore[union-attr]


def oc_text(name: str, **options: Any) -> Case:
    size = {
        "context_length": LENGTH,
        "vocab_size": WORDS,
        "width": 48,
        "heads": 4,
        "layers": 3,
        "output_dim": 16,
        "eos_id": END,
        "pad_id": PAD,
    }
    t = randomised(TextTransformer(**(size | options)))
    return Case(name, "text", t, sentences(), t, _oc_block(t.transformer.resblocks, 4))  # type: ignore[union-attr]


def oc_clip(name: str, modality: str) -> Case:
    clip = randomised(
        open_clip.CLIP(
            embed_dim=16,
            vision_cfg={"image_size": SIDE, "patch_size": PATCH, "width": 48, "layers": 2, "head_width": 12},
            text_cfg={"context_length": LENGTH, "vocab_size": WORDS, "width": 32, "heads": 4, "layers": 3},
            quick_gelu=True,
        )
    )
    if modality == "image":
        return Case(name, modality, clip, pixels(), clip.encode_image, _oc_block(clip.visual.transformer.resblocks, 4))
    return Case(name, modality, clip, sentences(), clip.encode_text, _oc_block(clip.transformer.resblocks, 4))


def oc_hf_text(name: str, pooler: str, proj: str | None) -> Case:
    config = hf.XLMRobertaConfig(pad_token_id=PAD, max_position_embeddings=LENGTH + 4, **_bert_size())
    t = randomised(HFTextEncoder("none", 16, config=config, pooler_type=pooler, proj_type=proj))
    return Case(name, "text", t, sentences(), t, _hf_block(t.transformer.encoder.layer))


def timm_vit(name: str, **options: Any) -> Case:
    size = {
        "img_size": SIDE,
        "patch_size": PATCH,
        "embed_dim": 48,
        "depth": 3,
        "num_heads": 4,
        "num_classes": 16,
        "mlp_ratio": 2.0,
    }
    v = randomised(vit.VisionTransformer(**(size | options)))
    return Case(name, "image", v, pixels(), v, lambda i, s: v.blocks[i](s.h))  # type: ignore[index]


def stem(**options: Any) -> nn.Module:
    """MobileCLIP-B's stem, smaller: three convolutions make patches of 8 pixels."""
    conv = ConvStem(
        channels=(12, 24, 48), stride=(2, 2, 2), kernel_size=(2, 2, 2), padding=0, in_chans=3, act_layer=nn.GELU
    )
    return HybridEmbed(backbone=conv, proj=False, **options)


def timm_eva(name: str, **options: Any) -> Case:
    size = {
        "img_size": SIDE,
        "patch_size": PATCH,
        "embed_dim": 48,
        "depth": 3,
        "num_heads": 4,
        "num_classes": 16,
        "mlp_ratio": 2.0,
    }
    v: Any = randomised(eva.Eva(**(size | options)))

    def block(i: int, s: State) -> Tensor:
        rope = (
            None
            if v.rope is None
            else v.rope.get_embed()
            if getattr(v.rope, "feat_shape", None)
            else v.rope.get_embed(shape=list(s.grid or ()))
        )
        out: Tensor = v.blocks[i](s.h, rope=rope[i] if v.rope_mixed else rope)
        return out

    return Case(name, "image", v, pixels(), v, block)


def timm_in_open_clip(name: str) -> Case:
    v: Any = TimmModel("vit_tiny_patch16_224", embed_dim=16, image_size=224, pool="avg", proj="mlp")
    v.trunk.blocks = v.trunk.blocks[:2]
    randomised(v)
    return Case(name, "image", v, pixels(224, 2), v, lambda i, s: v.trunk.blocks[i](s.h))


def _bert_size() -> Mapping[str, Any]:
    return {
        "vocab_size": WORDS,
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }


def bert(name: str, kind: Any, config: Any, pooling: str) -> Case:
    m: Any = randomised(
        kind(config(pad_token_id=PAD, max_position_embeddings=LENGTH + 4, attn_implementation="eager", **_bert_size()))
    )

    def forward(ids: Tensor) -> Tensor:
        mask = (ids != PAD).long()
        h = m(input_ids=ids, attention_mask=mask).last_hidden_state
        return h[:, 0] if pooling == "cls" else (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    return Case(name, "text", m, sentences(), forward, _hf_block(m.encoder.layer), pooling)


def hf_dual(name: str, modality: str, kind: Any, config: Any, **text: Any) -> Case:
    width = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    sizes = {"vision_config": width | {"image_size": SIDE, "patch_size": PATCH}}
    sizes["text_config"] = (
        width | {"vocab_size": WORDS, "max_position_embeddings": LENGTH + 4, "pad_token_id": PAD} | text
    )
    m: Any = randomised(kind(config(**sizes, **({} if "Siglip" in kind.__name__ else {"projection_dim": 16}))))
    if modality == "image":
        return Case(
            name,
            modality,
            m,
            pixels(),
            lambda x: _vector(m.get_image_features(pixel_values=x)),
            _hf_block(m.vision_model.encoder.layers),
        )
    masked = kind in (hf.ChineseCLIPModel, hf.AltCLIPModel)

    def forward(ids: Tensor) -> Tensor:
        return _vector(m.get_text_features(input_ids=ids, attention_mask=(ids != PAD).long() if masked else None))

    encoder = getattr(m.text_model, "roberta", m.text_model).encoder
    return Case(
        name,
        modality,
        m,
        sentences(),
        forward,
        _hf_block(encoder.layer if hasattr(encoder, "layer") else encoder.layers),
    )


def _vector(out: Any) -> Tensor:
    vector: Tensor = out if isinstance(out, Tensor) else out.pooler_output
    return vector


def resnet() -> nn.Module:
    return randomised(ModifiedResNet([1, 1, 1, 1], output_dim=16, heads=4, image_size=64, width=8))


_ROPE = {"use_rot_pos_emb": True, "class_token": True}
BUILDERS: dict[str, Callable[[str], Case]] = {
    "open_clip CLIP image": lambda n: oc_clip(n, "image"),
    "open_clip CLIP text": lambda n: oc_clip(n, "text"),
    "open_clip ViT, LayerScale, mean, no ln_pre": lambda n: oc_image(
        n, ls_init_value=0.3, pool_type="avg", no_ln_pre=True
    ),
    "open_clip ViT, norm after mean": lambda n: oc_image(n, pool_type="avg", final_ln_after_pool=True),
    "open_clip ViT, custom blocks": lambda n: oc_image(
        n, qk_norm=True, scale_heads=True, scale_attn_inner=True, scale_attn=True, scale_fc=True
    ),
    "open_clip ViT, CoCa pool": lambda n: oc_image(
        n, attentional_pool=True, attn_pooler_queries=5, attn_pooler_heads=4
    ),
    "open_clip text, not causal": lambda n: oc_text(n, no_causal_mask=True),
    "open_clip text, pad mask, eos": lambda n: oc_text(
        n, no_causal_mask=True, use_pad_mask=True, pool_type="eos", ls_init_value=0.3
    ),
    "open_clip text, last, biased head": lambda n: oc_text(n, no_causal_mask=True, pool_type="last", proj_bias=True),
    "open_clip text, CoCa CLS": lambda n: oc_text(n, embed_cls=True),
    "open_clip text, CoCa CLS, right mask": lambda n: oc_text(n, embed_cls=True, correct_cls_mask=True),
    "open_clip text, XLM-R mean": lambda n: oc_hf_text(n, "mean_pooler", "mlp"),
    "open_clip text, XLM-R pooler": lambda n: oc_hf_text(n, "cls_pooler", "linear"),
    "open_clip timm ViT": timm_in_open_clip,
    "timm ViT, registers, qk-norm, LayerScale": lambda n: timm_vit(
        n, reg_tokens=3, qk_norm=True, init_values=0.3, no_embed_class=True
    ),
    "timm ViT, CLS in table, pre-norm": lambda n: timm_vit(n, reg_tokens=2, pre_norm=True, scale_attn_norm=True),
    "timm ViT, mean, fc_norm": lambda n: timm_vit(n, global_pool="avg", class_token=False),
    "timm ViT, SigLIP pool": lambda n: timm_vit(n, global_pool="map", class_token=False),
    "timm ViT, post-norm": lambda n: timm_vit(n, block_fn=vit.ResPostBlock, init_values=0.3),
    "timm ViT, convolutional stem": lambda n: timm_vit(
        n, patch_size=1, embed_layer=stem, no_embed_class=True, img_size=SIDE
    ),
    "timm EVA-02, RoPE, SwiGLU": lambda n: timm_eva(
        n, swiglu_mlp=True, scale_mlp=True, qkv_fused=False, global_pool="token", **_ROPE
    ),
    "timm EVA, LayerScale, mean": lambda n: timm_eva(n, init_values=0.3),
    "timm EVA-02 enormous, post-norm": lambda n: timm_eva(n, use_post_norm=True, global_pool="token"),
    "timm PE, registers, RoPE, pool": lambda n: timm_eva(
        n,
        num_reg_tokens=2,
        attn_type="rope",
        scale_attn_inner=True,
        use_pre_transformer_norm=True,
        global_pool="map",
        attn_pool_num_heads=4,
        **_ROPE,
    ),
    "timm EVA, mixed RoPE": lambda n: timm_eva(
        n, rope_type="mixed", attn_type="rope", use_abs_pos_emb=False, qk_norm=True, **_ROPE
    ),
    "timm DINOv3, grouped heads": lambda n: timm_eva(
        n,
        rope_type="dinov3",
        rope_rotate_half=True,
        attn_type="rope",
        qkv_fused=False,
        num_kv_heads=2,
        num_reg_tokens=2,
        **_ROPE,
    ),
    "HF CLIP image": lambda n: hf_dual(n, "image", hf.CLIPModel, hf.CLIPConfig),
    "HF CLIP text, old end id": lambda n: hf_dual(n, "text", hf.CLIPModel, hf.CLIPConfig, eos_token_id=2),
    "HF CLIP text": lambda n: hf_dual(n, "text", hf.CLIPModel, hf.CLIPConfig, eos_token_id=END),
    "HF MetaCLIP 2 image": lambda n: hf_dual(n, "image", hf.MetaClip2Model, hf.MetaClip2Config),
    "HF MetaCLIP 2 text": lambda n: hf_dual(n, "text", hf.MetaClip2Model, hf.MetaClip2Config, eos_token_id=END),
    "HF SigLIP image": lambda n: hf_dual(n, "image", hf.SiglipModel, hf.SiglipConfig),
    "HF SigLIP text": lambda n: hf_dual(n, "text", hf.SiglipModel, hf.SiglipConfig, projection_size=16),
    "HF SigLIP 2 text": lambda n: hf_dual(n, "text", hf.Siglip2Model, hf.Siglip2Config, projection_size=16),
    "HF Chinese-CLIP image": lambda n: hf_dual(n, "image", hf.ChineseCLIPModel, hf.ChineseCLIPConfig),
    "HF Chinese-CLIP text": lambda n: hf_dual(n, "text", hf.ChineseCLIPModel, hf.ChineseCLIPConfig),
    "HF AltCLIP image": lambda n: hf_dual(n, "image", hf.AltCLIPModel, hf.AltCLIPConfig),
    "HF AltCLIP text": lambda n: hf_dual(n, "text", hf.AltCLIPModel, hf.AltCLIPConfig, project_dim=20),
    "BERT mean": lambda n: bert(n, hf.BertModel, hf.BertConfig, "mean"),
    "BERT CLS": lambda n: bert(n, hf.BertModel, hf.BertConfig, "cls"),
    "XLM-R mean": lambda n: bert(n, hf.XLMRobertaModel, hf.XLMRobertaConfig, "mean"),
}
IMAGES = [name for name in BUILDERS if not any(word in name for word in ("text", "BERT", "XLM"))]
TEXTS = [name for name in BUILDERS if name not in IMAGES]


@functools.cache
def case(name: str) -> Case:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BUILDERS[name](name)


def close(a: Tensor, b: Tensor, bound: float = 1e-5) -> bool:
    """Whether two tensors agree: max difference over max value."""
    return a.shape == b.shape and bool((a - b).abs().max() <= bound * b.abs().max())


def matrix() -> str:
    """Return docs/towers.md: what each tower can do, asked of the towers themselves."""
    rows = []
    for name in BUILDERS:
        tower = case(name).tower
        if case(name).modality == "image":
            dense = (
                "own pooling and regions"
                if tower.pooling == "mean" or (tower.pooling != "cls" and not has_prefix(tower))
                else "regions"
            )
            rows.append(
                (
                    name,
                    "image",
                    f"pixels, sides in multiples of {tower.patch[0]}",
                    tower.pooling.replace("_all", " over all tokens"),
                    "-",
                    dense,
                )
            )
        else:
            sees = "causal" if tower.causal else "both sides"
            padding = "" if tower.causal else ", padding seen" if tower.padding is None else ", padding hidden"
            rows.append((name, "text", "ids, soft prompts", tower.pooling, sees + padding, "-"))
    head = ("tower", "modality", "start takes", "pooling", "attention", "dense map")
    lines = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)]
    return INTRODUCTION + "\n".join(lines) + "\n"


def has_prefix(tower: Any) -> bool:
    return tower.prefix() is not None


INTRODUCTION = """# Which tower has which hook

| you want to | take a backbone whose towers have |
|---|---|
| classify, search, index, audit groups | any row: vectors are enough |
| learn soft prompts (`coop`, `mocoop`) | a text row that starts from "soft prompts" |
| prompt or read the inside of the image tower (`nola`, `glsim`) | an image row in this table |
| segment with words (`maskclip`), caption regions (`maccap`) | a dense map with "regions" |
| detect with heat maps (`feature-memory`, `winclip-style`) | any dense map |
| use CLIP's ResNets, ConvNeXt, EfficientNet or FastViT | dense maps with own pooling; there is no image tower |

Made by `tests/support/towers.py` from the towers of the contract test; `tests/contract/test_towers.py` fails when it is
out of date. Every row below passes, on random weights, all of: start + blocks + pooled + project equal the library's
own vector (max difference over max value <= 1e-5, fp32); attend + rest equal the library's block; edits at five places;
kernels; taps; gradients to attention probabilities and prompts; a batch of one equals a batch of N. A dense map with
"regions" pools by weights only, since the tower's own pooling looks at a token (CLS) that is not in the map.

"""

if __name__ == "__main__":
    Path("docs/towers.md").write_text(matrix(), encoding="utf-8")
