"""Released files of whole CLIPs, small, with the authors' names: each gives what the layers that they used give."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.backbones.spec import Stated
from diptych.core import DataError, PixelRecipe, UsageError
from tests.support.checkpoints import (
    MOBILECLIP,
    RESNET,
    SIGLIP,
    gap,
    into_hub_cache,
    openclip_model,
    small_tokenizer,
    vit,
)

TEXTS = ["a photo of a cat", "two dogs in a red barn"]
State = dict[str, Tensor]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make every architecture a small one, under the names that the tables have."""

    def become(config: dict[str, Any]) -> None:
        def get(name: str) -> dict[str, Any]:
            return {**config, "quick_gelu": True} if name.endswith("-quickgelu") else dict(config)

        monkeypatch.setattr(open_clip, "get_model_config", get)

    return become


def written(state: Any, path: Path) -> Path:
    torch.save(state, path)
    return path


def loaded(path: Path, released: str, side: int = 32) -> Any:
    """Load it by its name, at the side of a small model."""
    pixels = PixelRecipe(side, (0.5,) * 3, (0.5,) * 3)
    return load(f"local:{path}", stated=Stated(released=released, pixels=pixels, override=True))


def text_vectors(backbone: Any) -> Tensor:
    with torch.no_grad():
        out: Tensor = backbone.text.encode(backbone.text.inputs(TEXTS))
    return out


def image_vectors(backbone: Any, photos: list[Image.Image]) -> tuple[Tensor, Tensor]:
    x = backbone.image.inputs(photos)
    with torch.no_grad():
        return x, backbone.image.encode(x)


def as_half(model: Any) -> Any:
    """Round what the clip package's own conversion does: convolutions, linear layers, attentions, projections."""
    for part in model.modules():
        if isinstance(part, nn.Conv2d | nn.Linear | nn.MultiheadAttention):
            for p in part.parameters(recurse=False):
                p.data = p.data.half().float()
        for name in ("text_projection", "proj"):
            if isinstance(getattr(part, name, None), nn.Parameter):
                getattr(part, name).data = getattr(part, name).data.half().float()
    return model


def two_tables(seed: int = 0) -> tuple[State, Any]:
    """Return a Long-CLIP file, and the model whose text tower has the table of both."""
    config = vit(quick_gelu=True)
    config["text_cfg"]["context_length"] = 248
    model: Any = openclip_model(config, seed).eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    state["positional_embedding_res"] = torch.randn(248, 16, generator=torch.Generator().manual_seed(1))
    return state, model


def long_text(model: Any, state: State, ids: Tensor) -> Tensor:
    """Encode as the authors do: two tables, each masked, in one sum."""
    rows = torch.arange(248)[:, None]
    first, second = (rows < 20).float(), (rows >= 20).float()
    x = model.token_embedding(ids)
    x = x + state["positional_embedding"] * first + state["positional_embedding_res"] * second
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
    return x[torch.arange(len(ids)), ids.argmax(-1)] @ model.text_projection


def test_long_clips_two_tables_are_one(tmp_path: Path, small: Any, photos: list[Image.Image]) -> None:
    small(vit())
    state, model = two_tables()
    backbone = loaded(written(state, tmp_path / "longclip-B.pt"), "long-clip-b")
    assert (backbone.spec.context, backbone.spec.activation) == (248, "quick_gelu")
    ids = open_clip.tokenize(TEXTS, context_length=248)
    with torch.no_grad():
        expected = long_text(as_half(model), state, ids)
        assert gap(text_vectors(backbone), expected) <= 1e-5
        x, z = image_vectors(backbone, photos)
        assert gap(z, model.encode_image(x)) <= 1e-5


def test_long_clip_after_a_folder_is_the_same(tmp_path: Path, small: Any) -> None:
    small(vit())
    backbone = loaded(written(two_tables()[0], tmp_path / "longclip-B.pt"), "long-clip-b")
    save(backbone, tmp_path / "folder")
    assert torch.equal(text_vectors(load(f"local:{tmp_path / 'folder'}")), text_vectors(backbone))


class Experts(nn.Module):
    """The rule of the paper without its shortcut: every expert sees every token, and all but two count nothing."""

    def __init__(self, state: State, prefix: str) -> None:
        super().__init__()
        self.state, self.prefix = state, prefix

    def weight(self, name: str) -> Tensor:
        return self.state[f"{self.prefix}.{name}"].half().float()

    def forward(self, x: Tensor) -> Tensor:
        p = (x @ self.weight("gate.weight").T).softmax(-1)
        p = torch.where(p >= p.sort(-1).values[..., -2:-1], p, 0)
        p = p / p.sum(-1, keepdim=True)
        outs = []
        for e in range(4):
            h = x @ self.weight(f"experts.{e}.c_fc.weight").T + self.weight(f"experts.{e}.c_fc.bias")
            h = h * torch.sigmoid(1.702 * h)
            outs.append(h @ self.weight(f"experts.{e}.c_proj.weight").T + self.weight(f"experts.{e}.c_proj.bias"))
        return (torch.stack(outs, -1) * p[..., None, :]).sum(-1)


def expert_file() -> tuple[State, Any]:
    state, model = two_tables()
    g = torch.Generator().manual_seed(2)
    for tower, width in (("visual.transformer", 32), ("transformer", 16)):
        for i in range(2):
            block = f"{tower}.resblocks.{i}"
            for part in ("c_fc", "c_proj"):
                for kind in ("weight", "bias"):
                    like = state.pop(f"{block}.mlp.{part}.{kind}")
                    for e in range(4):
                        state[f"{block}.experts.{e}.{part}.{kind}"] = 0.2 * torch.randn(like.shape, generator=g)
            state[f"{block}.gate.weight"] = torch.randn(4, width, generator=g)
    return state, model


def test_clip_moe_routes_every_block(tmp_path: Path, small: Any, photos: list[Image.Image]) -> None:
    small(vit())
    state, model = expert_file()
    backbone = loaded(written(state, tmp_path / "moe_weights.pt"), "clip-moe")
    as_half(model)
    for tower, owner in (("visual.transformer", model.visual.transformer), ("transformer", model.transformer)):
        for i, block in enumerate(owner.resblocks):
            block.mlp = Experts(state, f"{tower}.resblocks.{i}")
    with torch.no_grad():
        assert gap(text_vectors(backbone), long_text(model, state, open_clip.tokenize(TEXTS, 248))) <= 1e-5
        x, z = image_vectors(backbone, photos)
        assert gap(z, model.encode_image(x)) <= 1e-5
    save(backbone, tmp_path / "folder")
    assert torch.equal(text_vectors(load(f"local:{tmp_path / 'folder'}")), text_vectors(backbone))


def laclip_file() -> tuple[State, Any, Any, Tensor]:
    """Return a file of CC3M's kind, timm's tower, open_clip's text, and the projection."""
    from functools import partial

    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(3)
    tower = VisionTransformer(
        img_size=32, patch_size=16, embed_dim=32, depth=2, num_heads=2, num_classes=0, qkv_bias=True, qk_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for p in tower.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    text: Any = openclip_model(vit(quick_gelu=True), 4).eval()
    projection = torch.randn(32, 12)
    state = {f"visual.{k}": v for k, v in tower.state_dict().items()}
    state |= {k: v for k, v in text.state_dict().items() if not k.startswith("visual.")}
    state["image_projection"] = projection
    return state, tower, text, projection


def test_laclip_has_normed_keys_and_two_activations(tmp_path: Path, small: Any, photos: list[Image.Image]) -> None:
    small(vit())
    state, tower, text, projection = laclip_file()
    path = written({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 35}, tmp_path / "cc3m.pt")
    backbone = loaded(path, "laclip-b16")
    assert backbone.spec.activation == "gelu+quick_gelu"
    with torch.no_grad():
        x, z = image_vectors(backbone, photos)
        assert gap(z, tower(x) @ projection) <= 1e-5
        assert gap(text_vectors(backbone), text.encode_text(open_clip.tokenize(TEXTS))) <= 1e-5
    save(backbone, tmp_path / "folder")
    again = load(f"local:{tmp_path / 'folder'}")
    assert torch.equal(text_vectors(again), text_vectors(backbone))
    assert (again.spec.activation, again.spec.changes) == (backbone.spec.activation, backbone.spec.changes)


@pytest.mark.parametrize("general", [False, True])
def test_cloobs_own_names(tmp_path: Path, small: Any, photos: list[Image.Image], general: bool) -> None:
    small(RESNET)
    model: Any = openclip_model({**RESNET, "quick_gelu": True}).eval()
    state = {k: v for k, v in model.state_dict().items() if k != "logit_scale"}
    if general:  # the class that the training program builds keeps the text tower in a module of its own
        state = {k if k.startswith("visual.") else f"transformer.{k}": v for k, v in state.items()}
    state["logit_inv_tau"] = torch.tensor(30.0).log()
    backbone = loaded(written({"epoch": 70, "state_dict": state}, tmp_path / "epoch_70.pt"), "cloob-rn50", 64)
    with torch.no_grad():
        x, z = image_vectors(backbone, photos)
        assert gap(z, model.encode_image(x)) <= 1e-5
        assert gap(text_vectors(backbone), model.encode_text(open_clip.tokenize(TEXTS))) <= 1e-5
    assert float(backbone.scale()[0].detach()) == pytest.approx(30)


def test_divas_trainer_holds_more_than_the_clip(tmp_path: Path, small: Any) -> None:
    small(vit())
    model: Any = openclip_model(vit(quick_gelu=True))
    state = {f"class_model.model.{k}": v for k, v in model.state_dict().items()}
    others = ("vae.encoder.weight", "unet.conv_in.weight", "text_encoder.a", "class_model.final_fc.weight",
              "visual_proj.bias")  # fmt: skip
    path = written({**state, **{k: torch.ones(2) for k in others}}, tmp_path / "a.pth")
    backbone = loaded(path, "diva-openai-l14")
    assert [c.kind for c in backbone.spec.changes] == ["cls-and-patches"]
    written({**state, "teacher.weight": torch.ones(2)}, path)
    with pytest.raises(DataError, match=r"1 unexpected \(teacher.weight\)"):
        loaded(path, "diva-openai-l14")


MIXER: dict[str, tuple[int, ...]] = {
    "token_mixer.layer_scale": (16, 1, 1), "token_mixer.norm.rbr_skip": (16,), "token_mixer.mixer.rbr_skip": (16,),
    "token_mixer.mixer.rbr_conv.0.conv.weight": (16, 1, 1, 11), "token_mixer.mixer.rbr_conv.0.bn": (16,),
    "layer_scale": (16, 1, 1), "convffn.conv.conv.weight": (16, 1, 1, 11), "convffn.conv.bn": (16,),
    "convffn.fc1.weight": (64, 16, 1, 1), "convffn.fc1.bias": (64,), "convffn.fc2.weight": (16, 64, 1, 1),
    "convffn.fc2.bias": (16,),
}  # fmt: skip
"""The names of a block of convolutions, and of its batch norms, whose four tensors have one shape."""
IMAGE = {
    "stem": "patch_embed", "conv_kxk": "rbr_conv", "conv_scale": "rbr_scale", "identity": "rbr_skip",
    "final_conv": "conv_exp", "large_conv": "lkb_origin", "mlp": "convffn", ".gamma": "",
}  # fmt: skip
"""timm's words in the names of an image tower -> the authors'."""
BLOCK = {
    "pre_norm_mha.0": "ln_1", "pre_norm_mha.1.qkv_proj": "attn.in_proj", "pre_norm_mha.1.out_proj": "attn.out_proj",
    "pre_norm_ffn.0": "ln_2", "pre_norm_ffn.1": "mlp.c_fc", "pre_norm_ffn.4": "mlp.c_proj",
}  # fmt: skip


def mobileclip_s0_file() -> tuple[State, Any]:
    """Return a file with the authors' names, and open_clip's model of its other blocks and its image tower."""
    model: Any = openclip_model({**MOBILECLIP, "text_cfg": {**MOBILECLIP["text_cfg"], "layers": 4}}, 5).eval()
    draws = torch.Generator().manual_seed(6)
    state = {"logit_scale": torch.tensor(3.0)}
    for name, tensor in model.visual.trunk.state_dict().items():
        if match := re.match(r"stages\.(\d)\.(blocks|downsample)", name):
            number = 2 * int(match[1]) - (match[2] == "downsample")
            name = f"network.{number}{name.removeprefix(match[0])}"
        for ours, theirs in IMAGE.items():
            name = name.replace(ours, theirs)
        if name == "head.fc.weight":
            name, tensor = "head.proj", tensor.T
        if name != "head.fc.bias":
            state[f"image_encoder.model.{name}"] = tensor
    text = model.text.state_dict()
    state |= {
        "text_encoder.embedding_layer.weight": text["token_embedding.weight"],
        "text_encoder.positional_embedding.pos_embed.pos_embed": text["positional_embedding"][None, None],
        "text_encoder.projection_layer": text["text_projection"],
    }
    for kind in ("weight", "bias"):
        state[f"text_encoder.final_layer_norm.{kind}"] = text[f"ln_final.{kind}"]
        for i in range(4):
            for theirs, ours in BLOCK.items():
                end = f"_{kind}" if ours == "attn.in_proj" else f".{kind}"
                tensor = text[f"transformer.resblocks.{i}.{ours}{end}"]
                state[f"text_encoder.transformer.{i + 1}.{theirs}.{kind}"] = tensor
    for i in (0, 5):
        for name, shape in MIXER.items():
            key = f"text_encoder.transformer.{i}.{name}"
            if shape == (16,) and not name.endswith("bias"):
                state |= {f"{key}.{n}": torch.randn(16, generator=draws) for n in ("weight", "bias", "running_mean")}
                state[f"{key}.running_var"] = 0.5 + torch.rand(16, generator=draws)
                state[f"{key}.num_batches_tracked"] = torch.tensor(3)
            else:
                state[key] = 0.5 * torch.randn(shape, generator=draws)
    return state, model


def mixed_by_convolutions(state: State, i: int, x: Tensor) -> Tensor:
    """Return (B, T, C) tokens after a block of convolutions, straight from the tensors of the file."""
    s = {k.removeprefix(f"text_encoder.transformer.{i}."): t for k, t in state.items()}

    def norm(name: str, m: Tensor) -> Tensor:
        kinds = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(m, *(s[f"{name}.{kind}"] for kind in kinds))

    def conv(name: str, m: Tensor) -> Tensor:
        return F.conv2d(m, s[f"{name}.weight"], padding=(0, 5), groups=16)

    m = x.transpose(1, 2)[:, :, None]
    t = "token_mixer"
    added = norm(f"{t}.mixer.rbr_conv.0.bn", conv(f"{t}.mixer.rbr_conv.0.conv", m)) + norm(f"{t}.mixer.rbr_skip", m)
    m = m + s[f"{t}.layer_scale"] * (added - norm(f"{t}.norm.rbr_skip", m))
    h = norm("convffn.conv.bn", conv("convffn.conv.conv", m))
    h = F.gelu(F.conv2d(h, s["convffn.fc1.weight"], s["convffn.fc1.bias"]))
    m = m + s["layer_scale"] * F.conv2d(h, s["convffn.fc2.weight"], s["convffn.fc2.bias"])
    return m[:, :, 0].transpose(1, 2)


def test_mobileclips_smallest_text_tower(tmp_path: Path, small: Any, photos: list[Image.Image]) -> None:
    small(MOBILECLIP)
    state, model = mobileclip_s0_file()
    backbone = loaded(written(state, tmp_path / "mobileclip_s0.pt"), "mobileclip-s0", 64)
    ids, text = open_clip.tokenize(TEXTS), model.text
    with torch.no_grad():
        x, z = image_vectors(backbone, photos)
        assert gap(z, model.visual(x)) <= 1e-5
        h = mixed_by_convolutions(state, 0, text.token_embedding(ids) + text.positional_embedding)
        h = text.ln_final(mixed_by_convolutions(state, 5, text.transformer(h)))
        expected = h[torch.arange(2), ids.argmax(1)] @ text.text_projection
        assert gap(text_vectors(backbone), expected) <= 1e-5
        tower = backbone.tower("text")
        cut = tower.project(tower.pooled(tower.blocks(tower.start(ids))))
        assert gap(cut, expected) <= 1e-5
        assert gap(cut, model.encode_text(ids)) > 1e-2  # the blocks of convolutions count
    save(backbone, tmp_path / "folder")
    assert torch.equal(text_vectors(load(f"local:{tmp_path / 'folder'}")), text_vectors(backbone))
    del state["text_encoder.transformer.5.convffn.conv.bn.bias"]
    with pytest.raises(DataError, match=r"1 missing \(text\.transformer\.resblocks\.5\.mlp_norm\.bias\)"):
        loaded(written(state, tmp_path / "a.pt"), "mobileclip-s0", 64)


def test_pickles_with_options_name_the_way_to_the_tensors(tmp_path: Path, small: Any) -> None:
    small(vit())
    path = written({"state_dict": laclip_file()[0], "args": argparse.Namespace(lr=1e-3)}, tmp_path / "cc3m.pt")
    with pytest.raises(UsageError, match=r"take them out once.*python -c 'import torch.*cc3m\.tensors\.pt"):
        loaded(path, "laclip-b16")


def test_a_tensor_that_is_renamed_dropped_or_turned_is_named(tmp_path: Path, small: Any) -> None:
    small(vit())
    turned = "visual.blocks.1.mlp.fc1.weight"
    for change, said in (
        (lambda s: s.update({"visual.blocks.1.mlp.fc3": s.pop(turned)}), r"unexpected \(visual\.blocks\.1\.mlp\.fc3\)"),
        (lambda s: s.pop("visual.norm.bias"), r"1 missing \(visual\.norm\.bias\)"),
        (lambda s: s.update({turned: s[turned].T}), r"1 of another shape \(visual\.blocks\.1\.mlp\.fc1\.weight\)"),
        (lambda s: s.update({"visual.patch_embed.proj.bias": torch.ones(3)}), r"proj\.bias of the shape \(3,\)"),
    ):  # fmt: skip
        state = laclip_file()[0]
        change(state)
        with pytest.raises(DataError, match=said):
            loaded(written(state, tmp_path / "a.pt"), "laclip-b16")
    state, _ = two_tables()
    state["positional_embedding_res"] = state["positional_embedding_res"][:77]
    with pytest.raises(DataError, match=r"tables positional_embedding and positional_embedding_res of other shapes"):
        loaded(written(state, tmp_path / "a.pt"), "long-clip-b")


def test_mcip_on_siglip(tmp_path: Path, small: Any, photos: list[Image.Image], hub_cache: Path) -> None:
    """Its file is a bare state of open_clip's CustomTextCLIP: visual.trunk., text., logit_scale and logit_bias."""
    small(SIGLIP)
    small_tokenizer(tmp_path / "tokenizer")
    into_hub_cache(hub_cache, "org/siglip-tokenizer", tmp_path / "tokenizer")
    model: Any = openclip_model(SIGLIP).eval()
    path = written(model.state_dict(), tmp_path / "MCIP-ViT-SO400M-14-SigLIP-384.pth")
    backbone = loaded(path, "mcip-so400m-384", 224)
    x, ours = image_vectors(backbone, photos)
    with torch.no_grad():
        assert gap(ours, model.encode_image(x)) <= 1e-6
        assert gap(text_vectors(backbone), model.encode_text(backbone.text.inputs(TEXTS))) <= 1e-6
    assert [float(v.detach()) for v in backbone.scale()] == pytest.approx(
        [float(model.logit_scale.detach().exp()), -10.0]
    )
    assert backbone.spec.score == "sigmoid"
    save(backbone, tmp_path / "folder")
    assert torch.equal(text_vectors(load(f"local:{tmp_path / 'folder'}", offline=True)), text_vectors(backbone))
    state = model.state_dict()
    state.pop("visual.trunk.attn_pool.latent")
    with pytest.raises(DataError, match=r"1 missing \(visual\.trunk\.attn_pool\.latent\): all else fits, so .* get it"):
        loaded(written(state, tmp_path / "a.pth"), "mcip-so400m-384", 224)


def test_one_wrong_tensor_of_many_blames_the_file_and_many_the_architecture(tmp_path: Path, small: Any) -> None:
    config = vit(quick_gelu=True)
    small(config)
    whole = openclip_model(config).state_dict()
    name = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    for change, said in (
        (lambda s: s.pop(name), r"1 missing \(.*\): all else fits, so the file is damaged or was"),
        (lambda s: s.update({f"{name}s": s[name]}), r"1 unexpected .* all else fits, so the file is damaged"),
        (lambda s: s.update({name: s[name].T}), r"1 of another shape .* so a tensor was transposed: get"),
        (lambda s: s.update({"positional_embedding": torch.ones(9, 16)}), r"state the architecture that it was saved"),
        (lambda s: [s.pop(n) for n in list(s) if ".1." in n], r"24 missing .* state the architecture that"),
        (lambda s: s[name].fill_(torch.inf), r"numbers that are not finite \(visual\.transformer.*c_fc\.weight\): its"),
        (lambda s: s[name].view(-1)[:1].fill_(torch.nan), r"not finite \(visual\.transformer.*c_fc\.weight\): its"),
    ):  # fmt: skip
        state = {n: t.clone() for n, t in whole.items()}
        change(state)
        with pytest.raises(DataError, match=said):
            loaded(written(state, tmp_path / "a.pt"), "mcip-l14-336")


def test_names_of_released_files_are_for_files_that_are_read(tmp_path: Path, small: Any) -> None:
    small(vit())
    path = written(two_tables()[0], tmp_path / "a.pt")
    with pytest.raises(UsageError, match=r"is for a weight file, which lite is not"):
        load("lite?released=long-clip-l")
    with pytest.raises(UsageError, match=r"'long-clip-x' is not a released file .* long-clip-"):
        loaded(path, "long-clip-x")
    with pytest.raises(UsageError, match=r"cloob-laion-400m is not read here: weights of other authors"):
        loaded(path, "cloob-laion-400m")
    with pytest.raises(UsageError, match=r"differ on the activation"):
        load(f"local:{path}?released=long-clip-b&activation=gelu")
    backbone = load(f"local:{path}?released=long-clip-b")
    assert (backbone.spec.pixels.size, backbone.spec.pixels.interpolation) == (224, "bicubic")
