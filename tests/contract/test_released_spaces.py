"""Released files of spaces of clips, clouds and stars, small, by the authors' names: converted, kept, compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.sources.load import load
from diptych.core import Backbone, ClassNames, DataError, Kit, Run, UsageError
from diptych.data.formats.lightcurves import LightCurve
from diptych.data.stars import Star
from diptych.features import artefacts, portable
from diptych.features.spaces import StoredSpace
from diptych.methods.extend.ila import ILA
from diptych.nn.prompts.prompted_clips import PromptedClips
from diptych.nn.spaces.fused_stars import FusedStars
from diptych.nn.spaces.star_space import TunedStars
from diptych.nn.spaces.view_adapters import AdaptedClouds
from diptych.tasks.fitted_space import read
from diptych.tasks.released import convert
from diptych.tasks.space_classifier import SpaceClassifier
from tests.support.checkpoints import OPENAI, gap, openclip_model, vit

NAMES = ClassNames(("cat", "red barn"))
RUN = Run(workers=1)
State = dict[str, Tensor]


@dataclass(frozen=True)
class Frames:
    """Clips of frames that are tensors."""

    clips: list[Tensor]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int, /) -> Tensor:
        return self.clips[index]

    def key(self, index: int, /) -> str:
        return f"clip {index}"

    def name(self, index: int, /) -> str:
        return f"clip {index}"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A CLIP of 4 x 4 patches with QuickGELU, as OpenAI's."""
    folder = tmp_path_factory.mktemp("clip") / "vit"
    folder.mkdir()
    config = vit(quick_gelu=True)
    config["vision_cfg"]["image_size"] = 64
    save_file(openclip_model(config).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": OPENAI}))
    return load(f"local:{folder}")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def came(slug: str, state: Any, backbone: Backbone | None, folder: Path, **given: Any) -> Any:
    """Write a file, convert it, and return the space of its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "file.pth"
    torch.save(state, path)
    opened = None if backbone is None else lambda: backbone
    convert(slug, path, folder / "out", RUN, backbone=opened, **{"classes": NAMES, **given})
    held = portable.load(folder / "out", Kit() if backbone is None else Kit.of(backbone))
    assert isinstance(held, (SpaceClassifier, StoredSpace))
    return held


def refused(
    slug: str, state: Callable[[], State], backbone: Backbone | None, folder: Path,
    changes: list[tuple[Callable[[State], Any], str]], **given: Any,
) -> None:  # fmt: skip
    """Check that a changed state is refused by the name of a key, and that nothing is written."""
    for n, (change, said) in enumerate(changes):
        changed = state()
        change(changed)
        with pytest.raises(DataError, match=said):
            came(slug, changed, backbone, folder / str(n), **given)
        assert not (folder / str(n) / "out").exists()


# --- ViFi-CLIP


def tuned(clip: Backbone) -> State:
    return {k: v + drawn(*v.shape) / 3 if v.ndim else v for k, v in clip.module().state_dict().items()}


def vifi_file(clip: Backbone) -> State:
    state = {}
    for name, value in tuned(clip).items():
        if name.startswith("visual."):
            state[f"module.image_encoder.{name.removeprefix('visual.')}"] = value
        elif name != "token_embedding.weight":
            state["module.logit_scale" if name == "logit_scale" else f"module.text_encoder.{name}"] = value
    return state


def library_model(clip: Backbone) -> Any:
    """Return the library's CLIP with the tuned tensors, and the words as they were."""
    config = json.loads((Path(clip.spec.name.removeprefix("local:")) / "open_clip_config.json").read_text())
    model = openclip_model(config["model_cfg"]).eval()
    kept = {"token_embedding.weight": clip.module().state_dict()["token_embedding.weight"]}
    model.load_state_dict({**tuned(clip), **kept})
    return model


def test_vifi_clips_towers(clip: Backbone, tmp_path: Path) -> None:
    state = vifi_file(clip) | {"module.prompt_learner.complete_text_embeddings": drawn(2, 77, 16)}
    held = came("vifi-clip", {"model": state, "epoch": 9}, clip, tmp_path, released="vifi-clip")
    assert (held.frames, held.classes.templates, held.method) == (32, ("a photo of a {}.",), "vifi-clip")
    model, x = library_model(clip), drawn(2, 32, 3, 64, 64)
    space = held.space
    with torch.no_grad():
        frames = model.encode_image(x.flatten(0, 1)).unflatten(0, (2, 32))
        texts = model.encode_text(open_clip.tokenize(["a photo of a cat."]))
        assert gap(space.image.encode(x), frames.mean(1)) <= 1e-5
        assert gap(space.text.encode(space.text.inputs(["a photo of a cat."])), texts) <= 1e-5
        assert torch.equal(space.scale()[0], model.logit_scale.exp())


def prompted_image(visual: Any, pixels: Tensor, prompts: list[Tensor]) -> Tensor:
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1) + visual.positional_embedding
    count, length = x.shape[1], len(prompts[0])
    x = visual.ln_pre(torch.cat([x, prompts[0].half().float().expand(len(x), -1, -1)], 1))
    for i, block in enumerate(visual.transformer.resblocks):
        if 0 < i < len(prompts):
            x = torch.cat([x[:, :-length], prompts[i].half().float().expand(len(x), -1, -1)], 1)
        x = block(x)
    assert x.shape[1] == count + length
    out: Tensor = visual.ln_post(x[:, 0]) @ visual.proj
    return out


def prompted_text(model: Any, name: str, prompts: list[Tensor]) -> Tensor:
    length = len(prompts[0])
    ids = open_clip.tokenize([" ".join(["X"] * length) + f" {name}."])
    x = model.token_embedding(ids)
    x = torch.cat([x[:, :1], prompts[0][None], x[:, 1 + length :]], 1) + model.positional_embedding
    for i, block in enumerate(model.transformer.resblocks):
        if 0 < i < len(prompts):
            x = torch.cat([x[:, :1], prompts[i].half().float()[None], x[:, 1 + length :]], 1)
        x = block(x, attn_mask=model.attn_mask)
    out: Tensor = model.ln_final(x)[0, ids.argmax()] @ model.text_projection
    return out


def test_vifi_clips_prompts(clip: Backbone, tmp_path: Path) -> None:
    image, text = [drawn(3, 32), drawn(3, 32, seed=1)], [drawn(3, 16), drawn(3, 16, seed=1)]
    state = vifi_file(clip) | {
        "module.image_encoder.VPT": image[0], "module.prompt_learner.ctx": text[0],
        "module.image_encoder.transformer.resblocks.1.VPT_shallow": image[1],
        "module.text_encoder.transformer.resblocks.1.VPT_shallow": text[1],
        "module.prompt_learner.token_prefix": drawn(2, 1, 16), "module.prompt_learner.token_suffix": drawn(2, 73, 16),
    }  # fmt: skip
    held = came("vifi-clip", {"model": state}, clip, tmp_path, released="vifi-clip-prompts")
    space = held.space
    assert isinstance(space, PromptedClips)
    model, x = library_model(clip), drawn(1, 32, 3, 64, 64)
    with torch.no_grad():
        expected = prompted_image(model.visual, x[0], image).mean(0, keepdim=True)
        assert gap(space.image.encode(x), expected) <= 1e-5
        (prompt,) = held.classes.prompts()[1]
        got = space.text.encode(space.text.inputs([prompt]))
        assert gap(got[0], prompted_text(model, "red barn", text)) <= 1e-5


def test_a_vifi_clip_that_does_not_fit_is_refused(clip: Backbone, tmp_path: Path) -> None:
    turned = "module.text_encoder.transformer.resblocks.0.mlp.c_fc.weight"
    changes: list[tuple[Callable[[State], Any], str]] = [
        (lambda s: s.update({"module.image_encoder.pro": s.pop("module.image_encoder.proj")}),
         r"1 missing \(module\.image_encoder\.proj\); 1 unexpected \(module\.image_encoder\.pro\)"),
        (lambda s: s.pop("module.text_encoder.ln_final.bias"), r"1 missing \(module\.text_encoder\.ln_final\.bias\)"),
        (lambda s: s.update({turned: s[turned].T}),
         r"another shape \(module\.text_encoder\.transformer\.resblocks\.0\.mlp\.c_fc\.w"),
        (lambda s: s.update({"module.prompt_learner.ctx": drawn(3, 16)}),
         r"1 missing \(\S*image_tokens\); 1 of another shape \(module\.prompt_learner\.ctx\)"),
    ]  # fmt: skip
    refused("vifi-clip", lambda: vifi_file(clip), clip, tmp_path, changes, released="vifi-clip")


# --- ILA

PIECES: dict[str, tuple[int, ...]] = {
    "message_fc.weight": (32, 32), "message_fc.bias": (32,), "message_ln.weight": (32,), "message_ln.bias": (32,),
    "message_attn.interactive_block.0.depthwise_conv.0.weight": (64, 1, 3, 3),
    "message_attn.interactive_block.0.depthwise_conv.0.bias": (64,),
    "message_attn.interactive_block.0.pointwise_conv.0.weight": (16, 64, 1, 1),
    "message_attn.interactive_block.0.pointwise_conv.0.bias": (16,),
    "message_attn.interactive_block.1.weight": (16, 16, 3, 3), "message_attn.interactive_block.1.bias": (16,),
    "message_attn.prediction_block.0.weight": (8, 16, 3, 3), "message_attn.prediction_block.0.bias": (8,),
    "message_attn.prediction_block.4.weight": (8, 8, 3, 3), "message_attn.prediction_block.4.bias": (8,),
    "message_attn.prediction_block.10.weight": (4, 4, 1), "message_attn.prediction_block.10.bias": (4,),
    "message_attn.prediction_block.12.weight": (4, 2, 1), "message_attn.prediction_block.12.bias": (4,),
    "message_attn.conv.weight": (8, 8, 3, 1, 1), "message_attn.conv.bias": (8,),
    "message_attn.fc.weight": (32, 8), "message_attn.fc.bias": (32,),
    "temporal_skip_fc.weight": (32, 32), "temporal_skip_fc.bias": (32,),
    "temporal_skip_align_fc.weight": (32, 32), "temporal_skip_align_fc.bias": (32,),
}  # fmt: skip
NORMS = {
    "message_attn.interactive_block.0.depthwise_conv.1": 64, "message_attn.interactive_block.0.pointwise_conv.1": 16,
    "message_attn.interactive_block.2": 16, "message_attn.prediction_block.1": 8,
    "message_attn.prediction_block.5": 8,
}  # fmt: skip
E_, T_ = 12, 4
AFTER: dict[str, tuple[int, ...]] = {
    "mit.positional_embedding": (1, T_, E_), "mit.resblocks.0.attn.in_proj_weight": (3 * E_, E_),
    "mit.resblocks.0.attn.in_proj_bias": (3 * E_,), "mit.resblocks.0.attn.out_proj.weight": (E_, E_),
    "mit.resblocks.0.attn.out_proj.bias": (E_,), "mit.resblocks.0.mlp.c_fc.weight": (4 * E_, E_),
    "mit.resblocks.0.mlp.c_fc.bias": (4 * E_,), "mit.resblocks.0.mlp.c_proj.weight": (E_, 4 * E_),
    "mit.resblocks.0.mlp.c_proj.bias": (E_,), "prompts_visual_ln.weight": (32,), "prompts_visual_ln.bias": (32,),
    "prompts_visual_proj": (32, E_), "prompts_generator.norm.weight": (E_,), "prompts_generator.norm.bias": (E_,),
    "prompts_generator.alpha": (E_,),
    **{f"mit.resblocks.0.ln_{i}.{kind}": (E_,) for i in (1, 2) for kind in ("weight", "bias")},
    **{
        f"prompts_generator.decoder.{i}.{name}": shape
        for i in (0, 1)
        for name, shape in {
            "cross_attn.q_proj.weight": (E_, E_), "cross_attn.k_proj.weight": (E_, E_),
            "cross_attn.v_proj.weight": (E_, E_), "cross_attn.proj.weight": (E_, E_), "cross_attn.proj.bias": (E_,),
            "norm1.weight": (E_,), "norm1.bias": (E_,), "norm3.weight": (E_,), "norm3.bias": (E_,),
            "mlp.0.weight": (4 * E_, E_), "mlp.0.bias": (4 * E_,), "mlp.3.weight": (E_, 4 * E_), "mlp.3.bias": (E_,),
        }.items()
    },
}  # fmt: skip


def ila_file(clip: Backbone) -> State:
    state = dict(clip.module().state_dict())
    for i in (0, 1):
        block = f"visual.transformer.resblocks.{i}."
        state |= {block + name: drawn(*shape, seed=i + k) for k, (name, shape) in enumerate(PIECES.items())}
        for k, (name, width) in enumerate(NORMS.items()):
            state |= {
                f"{block}{name}.weight": 1 + drawn(width, seed=k), f"{block}{name}.bias": drawn(width, seed=k + 1),
                f"{block}{name}.running_mean": drawn(width, seed=k + 2),
                f"{block}{name}.running_var": 1 + drawn(width, seed=k + 3).abs(),
                f"{block}{name}.num_batches_tracked": torch.tensor(7),
            }  # fmt: skip
    return state | {name: drawn(*shape, seed=k) for k, (name, shape) in enumerate(AFTER.items())}


class Written:
    """ILA written once more, straight from the tensors of the file and by its names."""

    def __init__(self, state: State, batch_statistics: bool) -> None:
        self.state, self.batch = state, batch_statistics

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def conv(self, x: Tensor, name: str, **given: Any) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[weight.ndim](x, weight, bias, **given)

    def batch_norm(self, x: Tensor, name: str) -> Tensor:
        mean, var = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        if self.batch:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        shape = (1, -1, 1, 1)
        x = (x - mean.reshape(shape)) / (var.reshape(shape) + 1e-5).sqrt()
        return x * self.state[f"{name}.weight"].reshape(shape) + self.state[f"{name}.bias"].reshape(shape)

    def aligned(self, h: Tensor, block: str, side: int) -> Tensor:
        """Return (B, T, L, C) tokens with what their neighbours add."""
        own = f"{block}message_attn."
        a = self.layer_norm(self.linear(h, f"{block}message_fc"), f"{block}message_ln")
        b, t, _, c = a.shape
        maps = a[:, :, 1:].transpose(2, 3).reshape(b, t, c, side, side)
        pre, cur = maps[:, :-1], maps[:, 1:]
        g = torch.cat([pre, cur], 2).flatten(0, 1)
        part = f"{own}interactive_block.0.depthwise_conv."
        g = self.batch_norm(self.conv(g, f"{part}0", padding=1, groups=2 * c), f"{part}1").relu()
        part = f"{own}interactive_block.0.pointwise_conv."
        g = self.batch_norm(self.conv(g, f"{part}0"), f"{part}1").relu()
        part = f"{own}interactive_block."
        g = self.batch_norm(self.conv(g, f"{part}1", padding=1), f"{part}2").relu()
        part = f"{own}prediction_block."
        p = F.max_pool2d(self.batch_norm(self.conv(g, f"{part}0", padding=1), f"{part}1"), 2).relu()
        p = F.max_pool2d(self.batch_norm(self.conv(p, f"{part}4", padding=1), f"{part}5"), 2).relu()
        p = p.amax((2, 3)).reshape(b, t - 1, -1).transpose(1, 2)
        p = self.conv(self.conv(p, f"{part}10", groups=2).relu(), f"{part}12", groups=2).tanh().transpose(1, 2) * 0.75
        half = g.shape[1] // 2
        g = g.reshape(b, t - 1, 2 * half, side, side)
        inter = self.frames(g[:, :, :half], g[:, :, half:]).transpose(1, 2)
        inter = self.conv(inter, f"{own}conv", padding=(1, 0, 0)).permute(0, 2, 3, 4, 1)
        inter = self.linear(inter, f"{own}fc").reshape(b, t, side * side, c)
        moved = self.frames(pre * self.mask(p[..., :2], side), cur * self.mask(p[..., 2:], side))
        moved = moved.flatten(3).transpose(2, 3)
        first = a[:, :, :1]
        h = h + self.linear(torch.cat([first, moved], 2), f"{block}temporal_skip_align_fc")
        return h + self.linear(torch.cat([first, inter], 2), f"{block}temporal_skip_fc")

    @staticmethod
    def frames(pre: Tensor, cur: Tensor) -> Tensor:
        return torch.cat([pre[:, :1], (pre[:, 1:] + cur[:, :-1]) / 2, cur[:, -1:]], 1)

    @staticmethod
    def mask(points: Tensor, side: int) -> Tensor:
        u = torch.arange(side) / (side - 1) * 2 - 1
        apart = (u - points[..., None]).abs()  # (B, T - 1, 2, side)
        weight = torch.where(apart <= 0.25, 1.0, (1 - (apart - 0.25) * 1.5).clamp(min=0))
        return (weight[..., 1, :, None] * weight[..., 0, None, :])[:, :, None]

    def attention(self, x: Tensor, name: str, heads: int, mask: Tensor | None = None) -> Tensor:
        module = nn.MultiheadAttention(x.shape[-1], heads, batch_first=True)
        module.load_state_dict({k: self.state[f"{name}.{k}"] for k in module.state_dict()})
        out: Tensor = module(x, x, x, need_weights=False, attn_mask=mask)[0]
        return out

    def feed_forward(self, x: Tensor, wide: str, narrow: str) -> Tensor:
        x = self.linear(x, wide)
        return self.linear(x * torch.sigmoid(1.702 * x), narrow)

    def block(self, x: Tensor, name: str, heads: int) -> Tensor:
        x = x + self.attention(self.layer_norm(x, f"{name}ln_1"), f"{name}attn", heads)
        return x + self.feed_forward(self.layer_norm(x, f"{name}ln_2"), f"{name}mlp.c_fc", f"{name}mlp.c_proj")

    def logits(self, pixels: Tensor, texts: Tensor) -> Tensor:
        """Return the (B, K) cosines of (B, T, 3, S, S) pixels with (K, E) texts."""
        b, t = pixels.shape[:2]
        x = F.conv2d(pixels.flatten(0, 1), self.state["visual.conv1.weight"], stride=16)
        side = x.shape[-1]
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.state["visual.class_embedding"].expand(len(x), 1, -1), x], 1)
        x = self.layer_norm(x + self.state["visual.positional_embedding"], "visual.ln_pre")
        for i in (0, 1):
            name = f"visual.transformer.resblocks.{i}."
            x = self.aligned(x.unflatten(0, (b, t)), name, side).flatten(0, 1)
            x = self.block(x, name, 2)
        each = (self.layer_norm(x[:, 0], "visual.ln_post") @ self.state["visual.proj"]).unflatten(0, (b, t))
        clip = (self.block(each + self.state["mit.positional_embedding"], "mit.resblocks.0.", 1) + each).mean(1)
        seen = self.layer_norm(x[:, 1:], "prompts_visual_ln") @ self.state["prompts_visual_proj"]
        seen = self.layer_norm(seen.unflatten(0, (b, t)).mean(1), "prompts_generator.norm")
        w = texts.expand(b, -1, -1)
        for i in (0, 1):
            part = f"prompts_generator.decoder.{i}."
            q, k, v = (
                F.linear(z, self.state[f"{part}cross_attn.{n}_proj.weight"])
                for n, z in (("q", self.layer_norm(w, f"{part}norm1")), ("k", seen), ("v", seen))
            )
            mixed = (q @ k.transpose(1, 2) / E_**0.5).softmax(-1) @ v
            w = w + self.linear(mixed, f"{part}cross_attn.proj")
            w = w + self.feed_forward(self.layer_norm(w, f"{part}norm3"), f"{part}mlp.0", f"{part}mlp.3")
        w = F.normalize(texts + self.state["prompts_generator.alpha"] * w, dim=-1)
        return (F.normalize(clip, dim=-1)[:, None] * w).sum(-1)


@pytest.mark.parametrize("together", [0, 2])
def test_ila_with_running_statistics_and_with_those_of_two_clips(clip: Backbone, tmp_path: Path, together: int) -> None:
    state = ila_file(clip)
    given: dict[str, Any] = {"settings": {"hidden": 16, "together": together}, "released": "ila"}
    held = came("ila", {"model": {f"module.{k}": v for k, v in state.items()}}, clip, tmp_path, **given)
    assert (held.frames, held.classes.templates) == (T_, ("{}",))
    pixels = [torch.rand(T_, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    x = held.space.encoder.inputs(pixels)
    written = Written(state, together > 0)
    with torch.no_grad():
        texts = clip.text.encode(clip.text.inputs(list(NAMES.names)))
        parts = [x[:2], x[2:]] if together else [x]
        expected = torch.cat([written.logits(part, texts) for part in parts])
    got = held.space.cosines(Frames(pixels), list(NAMES.names), RUN)
    assert gap(got, expected) <= 1e-5
    assert held.scores(Frames(pixels), RUN).values.shape == (3, 2)


def test_an_ila_that_does_not_fit_is_refused(clip: Backbone, tmp_path: Path) -> None:
    turned = "prompts_visual_proj"
    changes: list[tuple[Callable[[State], Any], str]] = [
        (lambda s: s.update({"mit.positions": s.pop("mit.positional_embedding")}),
         r"1 missing \(mit\.positional_embedding\); 1 unexpected \(mit\.positions\)"),
        (lambda s: s.pop("visual.transformer.resblocks.1.message_attn.fc.bias"),
         r"1 missing \(visual\.transformer\.resblocks\.1\.message_attn\.fc\.bias\)"),
        (lambda s: s.update({turned: s[turned].T}), r"another shape \(prompts_visual_proj\)"),
        (lambda s: s.pop("visual.proj"), r"lacks 1 tensors of its frozen local:.*\(visual\.proj\)"),
        (lambda s: s.update({"visual.proj": s["visual.proj"] + 1}), "holds a frozen visual.proj that is not the one"),
        (lambda s: s.pop("prompts_generator.decoder.0.cross_attn.k_proj.weight"),
         r"lacks prompts_generator\.decoder\.0\.cross_attn\.k_proj\.weight, beside"),
    ]  # fmt: skip
    given: dict[str, Any] = {"settings": {"hidden": 16}, "released": "ila"}
    refused("ila", lambda: ila_file(clip), clip, tmp_path, changes, **given)


def test_a_backbone_of_another_activation_is_refused(clip: Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "gelu"
    folder.mkdir()
    config = vit()
    save_file(openclip_model(config).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": OPENAI}))
    with pytest.raises(UsageError, match=r"ila was trained with quick_gelu, and local:.* has gelu: give the backbone"):
        came("ila", ila_file(clip), load(f"local:{folder}"), tmp_path, released="ila")
    with pytest.raises(UsageError, match=r"ila names clips by words: give names"):
        came("ila", ila_file(clip), clip, tmp_path / "nameless", released="ila", classes=None)
    with pytest.raises(UsageError, match=r"ila-ssv2 is not read here: those for Something-Something v2"):
        came("ila", ila_file(clip), clip, tmp_path / "ssv2", released="ila-ssv2")
    assert ILA(together=0).together == 0


# --- CLIP2Point


def towers(clip: Backbone, ours: str, original: str) -> State:
    before = {k: v for k, v in clip.module().state_dict().items() if k.startswith("visual.")}
    after = {k: v + drawn(*v.shape) / 3 for k, v in before.items()}
    return {f"{ours}.{k.removeprefix('visual.')}": v for k, v in after.items()} | {
        f"{original}.{k.removeprefix('visual.')}": v for k, v in before.items()
    }


def clip2point_file(clip: Backbone) -> State:
    angles = {f"selector.view_selector.views_{name}": torch.zeros(10) for name in ("azim", "elev", "dist")}
    return towers(clip, "point_model", "image_model") | {"weights": torch.tensor(1.1)} | angles


def few_shot_file(clip: Backbone) -> State:
    state = towers(clip, "pre_model", "ori_model")
    state["selector.view_selector.views_azim"] = torch.zeros(10)
    for name in ("adapter1", "adapter2"):
        shapes = {
            "fusion_ratio": (10,), "global_f.3.weight": (12, 120), "global_f.3.bias": (12,),
            "global_f.7.weight": (12, 12), "global_f.7.bias": (12,),
        }  # fmt: skip
        state |= {f"{name}.{k}": drawn(*shape, seed=len(name)) for k, shape in shapes.items()}
        for norm in ("global_f.0.bn", "global_f.4"):
            state |= {
                f"{name}.{norm}.weight": 1 + drawn(12), f"{name}.{norm}.bias": drawn(12),
                f"{name}.{norm}.running_mean": drawn(12, seed=1), f"{name}.{norm}.running_var": 1 + drawn(12).abs(),
                f"{name}.{norm}.num_batches_tracked": torch.tensor(3),
            }  # fmt: skip
    return state


def library_tower(clip: Backbone, state: State, name: str) -> Any:
    config = json.loads((Path(clip.spec.name.removeprefix("local:")) / "open_clip_config.json").read_text())
    visual: Any = openclip_model(config["model_cfg"]).eval().visual
    visual.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
    return visual


def test_clip2points_tower(clip: Backbone, tmp_path: Path) -> None:
    state = clip2point_file(clip)
    held = came("clip2point", {f"module.{k}": v for k, v in state.items()}, clip, tmp_path, released="clip2point")
    assert (held.samples, held.classes.templates) == ("clouds", ("image of a {}",))
    cloud = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).numpy()
    x = held.space.image.inputs([cloud])
    with torch.no_grad():
        views = F.normalize(library_tower(clip, state, "point_model")(x[0]), dim=-1)
        assert gap(held.space.image.encode(x)[0], views.mean(0)) <= 1e-5


def adapted(state: State, name: str, views: Tensor) -> Tensor:
    """Return the (B, D) output of an adapter for (B, V, D) views, from its tensors."""

    def norm(x: Tensor, part: str) -> Tensor:
        own = {k: state[f"{name}.global_f.{part}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")}
        return (x - own["running_mean"]) / (own["running_var"] + 1e-5).sqrt() * own["weight"] + own["bias"]

    h = norm(views * state[f"{name}.fusion_ratio"][:, None], "0.bn").flatten(1)
    h = norm(h @ state[f"{name}.global_f.3.weight"].T + state[f"{name}.global_f.3.bias"], "4").relu()
    return h @ state[f"{name}.global_f.7.weight"].T + state[f"{name}.global_f.7.bias"]


def test_clip2points_adapters(clip: Backbone, tmp_path: Path) -> None:
    state = few_shot_file(clip)
    held = came("clip2point", state, clip, tmp_path, released="clip2point-few-shot")
    assert isinstance(held.space, AdaptedClouds)
    assert len(held.space.clouds.cameras) == 10
    clouds = [torch.randn(200, 3, generator=torch.Generator().manual_seed(i)).numpy() for i in range(2)]
    x = held.space.image.inputs(clouds)
    with torch.no_grad():
        paths = [
            adapted(state, name, library_tower(clip, state, tower)(x.flatten(0, 1)).unflatten(0, (2, 10)))
            for name, tower in (("adapter1", "pre_model"), ("adapter2", "ori_model"))
        ]
        assert gap(held.space.image.encode(x), (paths[0] + paths[1]) / 2) <= 1e-5
    with pytest.raises(UsageError, match="take 10 views, and there are 6 cameras"):
        came("clip2point", state, clip, tmp_path / "six", released="clip2point")


def test_a_clip2point_that_does_not_fit_is_refused(clip: Backbone, tmp_path: Path) -> None:
    turned = "point_model.transformer.resblocks.0.mlp.c_proj.weight"
    changes: list[tuple[Callable[[State], Any], str]] = [
        (lambda s: s.update({"point_model.projection": s.pop("point_model.proj")}),
         r"1 missing \(point_model\.proj\); 1 unexpected \(point_model\.projection\)"),
        (lambda s: s.pop("image_model.conv1.weight"),
         r"lacks 1 tensors of its frozen .*\(image_model\.conv1\.weight\)"),
        (lambda s: s.update({turned: s[turned].T}), r"another shape \(point_model\.transformer\.resblocks\.0\.mlp"),
    ]  # fmt: skip
    refused("clip2point", lambda: clip2point_file(clip), clip, tmp_path, changes, released="clip2point")
    changes = [
        (
            lambda s: s.pop("adapter2.global_f.0.bn.running_var"),
            r"1 missing \(adapter2\.global_f\.0\.bn\.running_var\)",
        ),
        (lambda s: s.update({"adapter1.global_f.5.bias": drawn(12)}), r"unexpected \(adapter1\.global_f\.5\.bias\)"),
    ]
    few: dict[str, Any] = {"released": "clip2point-few-shot"}
    refused("clip2point", lambda: few_shot_file(clip), clip, tmp_path / "few", changes, **few)


# --- AstroM3

WIDTH, ROWS, WAVES = 8, 12, (0.0, 10.0, 240)
SIZES: dict[str, Any] = {"heads": 2, "grid": WAVES}


def star_layers(prefix: str, count: int = 2) -> State:
    state = {
        f"{prefix}enc_embedding.value_embedding.tokenConv.weight": drawn(WIDTH, 9, 3),
        f"{prefix}enc_embedding.position_embedding.pe": drawn(1, 5000, WIDTH),
        f"{prefix}encoder.norm.weight": 1 + drawn(WIDTH), f"{prefix}encoder.norm.bias": drawn(WIDTH),
    }  # fmt: skip
    for i in range(count):
        own = f"{prefix}encoder.attn_layers.{i}."
        for k, part in enumerate(("query", "key", "value", "out")):
            state[f"{own}attention.{part}_projection.weight"] = drawn(WIDTH, WIDTH, seed=4 * i + k)
            state[f"{own}attention.{part}_projection.bias"] = drawn(WIDTH, seed=4 * i + k)
        state |= {
            f"{own}conv1.weight": drawn(16, WIDTH, 1), f"{own}conv1.bias": drawn(16),
            f"{own}conv2.weight": drawn(WIDTH, 16, 1), f"{own}conv2.bias": drawn(WIDTH),
            f"{own}norm1.weight": 1 + drawn(WIDTH), f"{own}norm1.bias": drawn(WIDTH, seed=1),
            f"{own}norm2.weight": 1 + drawn(WIDTH), f"{own}norm2.bias": drawn(WIDTH, seed=2),
        }  # fmt: skip
    return state


def spectrum_layers(prefix: str) -> State:
    shapes = {0: (64, 3, 3), 3: (64, 64, 3), 6: (32, 64, 3), 9: (32, 32, 3)}
    return {f"{prefix}layers.{i}.weight": drawn(*shape) for i, shape in shapes.items()} | {
        f"{prefix}layers.{i}.bias": drawn(shape[0]) for i, shape in shapes.items()
    }


def star_file() -> State:
    facts = {"0": (6, 5), "3": (6, 6)}
    state = star_layers("photometry_encoder.") | spectrum_layers("spectra_encoder.")
    state |= {f"metadata_encoder.model.{i}.weight": drawn(*shape) for i, shape in facts.items()}
    state |= {f"metadata_encoder.model.{i}.bias": drawn(shape[0]) for i, shape in facts.items()}
    for name, wide in (("photometry", ROWS * WIDTH), ("spectra", 32), ("metadata", 6)):
        state |= {f"{name}_proj.weight": drawn(7, wide), f"{name}_proj.bias": drawn(7)}
    return state | {f"logit_scale_{pair}": torch.tensor(3.0 + n) for n, pair in enumerate(("ps", "sm", "mp"))}


def sinusoids() -> Tensor:
    code = torch.zeros(ROWS, WIDTH)
    for row in range(ROWS):
        for i in range(0, WIDTH, 2):
            angle = torch.tensor(row / 10000.0 ** (i / WIDTH))
            code[row, i], code[row, i + 1] = angle.sin(), angle.cos()
    return code


def informer(state: State, prefix: str, x: Tensor, mask: Tensor, seed: int) -> Tensor:
    """Return the (B, L C) output of the light curves' tower: ProbSparse attention head by head and query by query."""
    g = torch.Generator().manual_seed(seed)
    wrapped = torch.cat([x[:, -1:], x, x[:, :1]], 1)
    weight = state[f"{prefix}enc_embedding.value_embedding.tokenConv.weight"]
    h = torch.stack([torch.einsum("blc,wc->blw", wrapped[:, k : k + ROWS], weight[:, :, k]) for k in range(3)]).sum(0)
    h = h + sinusoids()
    for i in range(2):
        own = f"{prefix}encoder.attn_layers.{i}."

        def linear(z: Tensor, name: str, own: str = own) -> Tensor:
            return z @ state[f"{own}{name}.weight"].reshape(-1, z.shape[-1]).T + state[f"{own}{name}.bias"]

        q, k, v = (linear(h, f"attention.{part}_projection") for part in ("query", "key", "value"))
        keys = torch.randint(ROWS, (ROWS, 3), generator=g)  # 3: the next whole number above ln 12
        out = torch.zeros(len(x), 2, ROWS, WIDTH // 2)
        for b in range(len(x)):
            for head in range(2):
                part = slice(head * WIDTH // 2, (head + 1) * WIDTH // 2)
                qs, ks, vs = q[b, :, part], k[b, :, part], v[b, :, part]
                products = [torch.stack([qs[row] @ ks[int(key)] for key in keys[row]]) for row in range(ROWS)]
                uneven = torch.stack([p.max() - p.sum() / ROWS for p in products])
                out[b, head] = vs.mean(0)
                for row in uneven.argsort(descending=True)[:3].tolist():
                    out[b, head, row] = (qs[row] @ ks.T / (WIDTH // 2) ** 0.5).softmax(0) @ vs
        moved = linear(out.reshape(len(x), ROWS, WIDTH), "attention.out_projection")
        h = F.layer_norm(h + moved, (WIDTH,), state[f"{own}norm1.weight"], state[f"{own}norm1.bias"])
        wide = linear(F.gelu(linear(h, "conv1")), "conv2")
        h = F.layer_norm(h + wide, (WIDTH,), state[f"{own}norm2.weight"], state[f"{own}norm2.bias"])
    h = F.layer_norm(h, (WIDTH,), state[f"{prefix}encoder.norm.weight"], state[f"{prefix}encoder.norm.bias"])
    return (h * mask[..., None]).flatten(1)


def star(count: int, seed: int) -> Star:
    g = np.random.default_rng(seed)
    curve = LightCurve(np.sort(g.uniform(0, 900, count)), g.normal(12, 1, count), g.uniform(0.1, 0.2, count))
    spectrum = LightCurve(np.linspace(-1, 11, 300), g.normal(1, 1, 300), g.uniform(0.1, 0.2, 300))
    return Star(curve, spectrum, g.normal(size=5), g.normal(size=4))


def curve_rows(one: Star) -> tuple[Tensor, Tensor]:
    """Return the (L, 9) rows and the (L,) mask of a curve of up to L measurements, as the authors prepare them."""
    assert one.curve is not None
    assert one.constants is not None
    assert one.curve.error is not None
    time, value = one.curve.time, one.curve.value
    mad = np.median(np.abs(value - np.median(value)))
    rows = np.zeros((ROWS, 3))
    rows[: len(time)] = np.stack(
        [(time - time.min()) / np.ptp(time), (value - value.mean()) / mad, one.curve.error / mad], 1
    )
    same = np.concatenate([one.constants, [np.log10(mad), np.ptp(time) / 365]])
    whole = np.concatenate([rows, np.tile(same, (ROWS, 1))], 1)
    return torch.tensor(whole, dtype=torch.float32), torch.tensor(np.arange(ROWS) < len(time), dtype=torch.float32)


def test_astrom3s_towers(tmp_path: Path) -> None:
    state = star_file()
    space = came("astrom3", state, None, tmp_path, released="astrom3", settings=SIZES, classes=None).space
    stars = [star(ROWS, 0), star(7, 1)]
    rows, masks = (torch.stack(parts) for parts in zip(*map(curve_rows, stars), strict=True))
    photometry, spectra, metadata = (space.encoders[m] for m in ("photometry", "spectra", "metadata"))
    with torch.no_grad():
        x = photometry.inputs(stars)
        assert gap(x[..., :-1], rows) <= 1e-6
        h = informer(state, "photometry_encoder.", rows, masks, seed=0)
        expected = h @ state["photometry_proj.weight"].T + state["photometry_proj.bias"]
        assert gap(photometry.encode(x), expected) <= 1e-5
        h = spectra.inputs(stars)
        for i in (0, 3, 6, 9):
            h = F.conv1d(
                h, state[f"spectra_encoder.layers.{i}.weight"], state[f"spectra_encoder.layers.{i}.bias"]
            ).relu()
            h = F.max_pool1d(h, 4) if i < 9 else h
        expected = h.flatten(1) @ state["spectra_proj.weight"].T + state["spectra_proj.bias"]
        assert gap(spectra.encode(spectra.inputs(stars)), expected) <= 1e-5
        h = metadata.inputs(stars)
        for i in (0, 3):
            h = (h @ state[f"metadata_encoder.model.{i}.weight"].T + state[f"metadata_encoder.model.{i}.bias"]).relu()
        expected = h @ state["metadata_proj.weight"].T + state["metadata_proj.bias"]
        assert gap(metadata.encode(metadata.inputs(stars)), expected) <= 1e-5
    assert torch.isclose(space.scale("metadata", "photometry")[0], torch.tensor(100.0))  # exp(5), kept below 100
    assert torch.isclose(space.scale()[0], torch.tensor(3.0).exp())
    with pytest.raises(DataError, match="reads 4 constants of a star with its light curve, and a star has none"):
        photometry.inputs([Star(stars[0].curve)])


def test_astrom3s_classifier_of_light_curves(tmp_path: Path) -> None:
    state = star_layers("") | {"fc.weight": drawn(10, ROWS * WIDTH), "fc.bias": drawn(10)}
    space = came("astrom3", state, None, tmp_path, released="astrom3-single", settings=SIZES, classes=None).space
    assert isinstance(space, TunedStars)
    rows, mask = curve_rows(star(9, 3))
    x = space.encoders["photometry"].inputs([star(9, 3)])
    with torch.no_grad():
        expected = informer(state, "", rows[None], mask[None], seed=0) @ state["fc.weight"].T + state["fc.bias"]
        assert gap(space.class_logits(space.encoders["photometry"].encode(x)), expected) <= 1e-5
    assert artefacts.stated(tmp_path / "out").facts["named"].names[:3] == ("DSCT", "EA", "EB")


def test_astrom3s_classifier_of_all_modalities(tmp_path: Path) -> None:
    state = star_file() | {"fc.weight": drawn(10, 7), "fc.bias": drawn(10)}
    space = came("astrom3", state, None, tmp_path, released="astrom3-all", settings=SIZES, classes=None).space
    assert isinstance(space, FusedStars)
    towers = came("astrom3", star_file(), None, tmp_path / "towers", released="astrom3", settings=SIZES, classes=None)
    stars, unit = [star(9, 3), star(ROWS, 4)], []
    with torch.no_grad():
        for name in ("photometry", "spectra", "metadata"):
            encoder = towers.space.encoders[name]
            vectors = encoder.encode(encoder.inputs(stars))
            unit.append(vectors / vectors.square().sum(1, keepdim=True).sqrt())
        expected = (unit[0] + unit[1] + unit[2]) / 3 @ state["fc.weight"].T + state["fc.bias"]
        encoder = space.encoders[space.labelled]
        assert gap(space.class_logits(encoder.encode(encoder.inputs(stars))), expected) <= 1e-5
    assert space.scale() == (1, 0)
    named = read(tmp_path / "out", None)
    assert named.classes.names[:3] == ("DSCT", "EA", "EB")
    assert torch.equal(named.scores(Stars(stars), RUN).values.argmax(1), expected.argmax(1))
    changes: list[tuple[Callable[[State], Any], str]] = [
        (lambda s: s.pop("fc.bias"), r"1 missing \(fc\.bias\)"),
        (lambda s: s.update({"fc.weight": drawn(10, 21)}), r"1 of another shape \(fc\.weight\)"),
    ]
    given: dict[str, Any] = {"released": "astrom3-all", "settings": SIZES, "classes": None}
    refused("astrom3", lambda: dict(state), None, tmp_path / "wrong", changes, **given)


@dataclass(frozen=True)
class Stars:
    """Stars that lie in memory."""

    stars: list[Star]

    def __len__(self) -> int:
        return len(self.stars)

    def __getitem__(self, index: int, /) -> Star:
        return self.stars[index]

    def key(self, index: int, /) -> str:
        return f"star {index}"

    def name(self, index: int, /) -> str:
        return f"star {index}"


def test_an_astrom3_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    query = "photometry_encoder.encoder.attn_layers.1.attention.query_projection.weight"
    changes: list[tuple[Callable[[State], Any], str]] = [
        (lambda s: s.pop(query), r"lacks photometry_encoder\.\S*attn_layers\.1\.\S*query_projection\.weight, beside"),
        (lambda s: s.update({"spectra_projection.bias": s.pop("spectra_proj.bias")}),
         r"1 missing \(spectra_proj\.bias\); 1 unexpected \(spectra_projection\.bias\)"),
        (lambda s: s.update({"metadata_proj.weight": s["metadata_proj.weight"].T}),
         r"another shape \(metadata_proj\.weight\)"),
        (lambda s: s.update({"fc.weight": drawn(10, 7)}), r"1 unexpected \(fc\.weight\)"),
    ]  # fmt: skip
    given: dict[str, Any] = {"released": "astrom3", "settings": SIZES, "classes": None}
    refused("astrom3", star_file, None, tmp_path, changes, **given)
