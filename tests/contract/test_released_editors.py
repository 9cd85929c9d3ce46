"""Released files of editors in StyleGAN2, small, with the authors' names: converted, kept, equal to a transcription."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.generators.load import load_inverter, load_stylegan2
from diptych.backbones.generators.stylegan2 import StyleGAN2
from diptych.backbones.released import table
from diptych.core import Backbone, DataError, EditAsk, Kit, MissingPart, Run, Styles, UsageError
from diptych.features.artefacts import stated
from diptych.tasks.edit import fitted_editor
from diptych.tasks.released import convert
from recipes.fresh_generators import fresh_weights
from tests.backbones.generators.inverter_files import generator, released, written
from tests.support.pictures import Pictures, picture
from tests.support.small_clip import small_clip

State = dict[str, Tensor]
LEVELS = {"coarse": (0, 3, 6), "medium": (18, 4, 6), "fine": (42, 1, 10)}
"""Level -> first channel, layers and width: the generator's channels are eight of 6 and one of 4."""
PHOTOS = Pictures(tuple(picture(k, k) for k in range(2)))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "quick", "vit-quickgelu")


class Flat:
    """An inverter that reads photos of 48 pixels, and gives every latent their mean colours."""

    size = 48

    def __init__(self, generator: StyleGAN2) -> None:
        self.generator = generator

    def invert(self, images: Tensor, /) -> Styles:
        w = images.mean((2, 3)).repeat(1, 3)[:, :8]
        return self.generator.styles(w[:, None].expand(-1, self.generator.latents, -1))


def mapper_file(dim: int) -> State:
    """Return a file as the authors write it: a flat state dict."""
    out: State = {}

    def stack(name: str, first: int, into: int, wide: int) -> None:
        for k in range(4):
            out[f"{name}.mapping.{first + k}.weight"] = 100 * drawn(wide, into if k == 0 else wide, seed=len(out))
            out[f"{name}.mapping.{first + k}.bias"] = 50 * drawn(wide, seed=len(out))

    for level, (_, _, wide) in LEVELS.items():
        stack(f"sm_{level}", 1, wide, wide)
        stack(f"cm_{level}", 1, 2 * dim, wide)
        stack(f"fm_{level}", 0, 2 * wide, wide)
    return out


@pytest.fixture
def files(quick: Backbone, tmp_path: Path) -> Path:
    """A folder with a generator, a mapper and a relevance."""
    weights = fresh_weights(64, 8, {4: 6, 8: 6, 16: 6, 32: 6, 64: 4}, 2, torch.Generator().manual_seed(0))
    torch.save({"g_ema": weights, "latent_avg": torch.zeros(8)}, tmp_path / "ffhq.pt")
    torch.save(mapper_file(quick.image.dim), tmp_path / "net_face.pth")
    np.save(tmp_path / "fs3.npy", 0.3 * drawn(52, quick.image.dim).numpy())
    return tmp_path


def converted(folder: Path, quick: Backbone, **given: Any) -> Path:
    words = {"generator": str(folder / "ffhq.pt"), "backbone": lambda: quick, **given}
    convert("deltaedit", folder / "net_face.pth", folder / "out", Run(), **words)
    return folder / "out"


def change_of(state: State, s: Tensor, c: Tensor) -> Tensor:
    """Return the (B, S) change of (B, S) styles, by the authors' names; c: the image vector beside the direction."""

    def through(name: str, first: int, x: Tensor) -> Tensor:
        for k in range(first, first + 4):
            weight, bias = (state[f"{name}.mapping.{k}.{part}"] for part in ("weight", "bias"))
            x = F.leaky_relu(x @ (0.01 / math.sqrt(weight.shape[1]) * weight).T + 0.01 * bias, 0.2) * math.sqrt(2)
        return x

    def norm(x: Tensor) -> Tensor:
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()  # over axis 1, whatever it is

    parts = []
    for level, (start, layers, wide) in LEVELS.items():
        part = s[:, start : start + layers * wide]
        part = part.reshape(-1, layers, wide) if level != "fine" else part
        told = through(f"cm_{level}", 1, norm(c))
        told = told[:, None].expand(-1, layers, -1) if level != "fine" else told
        both = torch.cat([through(f"sm_{level}", 1, norm(part)), told], dim=-1)
        parts.append(through(f"fm_{level}", 0, both).reshape(len(s), -1))
    return torch.cat(parts, dim=1)


def test_deltaedits_mapper(quick: Backbone, files: Path) -> None:
    out = converted(files, quick)
    draws = load_stylegan2(files / "ffhq.pt")
    inverter = Flat(draws)
    method = convert_method(out, "deltaedit")
    fitted: Any = fitted_editor(Kit({"main": quick, "generator": draws, "inverter": inverter}), Run(), method=method,
                                folder=out)  # fmt: skip
    found = fitted.edit(EditAsk("face", "a red wall", images=PHOTOS), Run())

    module: Any = quick.module()
    with torch.no_grad():
        rows = []
        for words in ("a red wall", "face"):
            prompts = [f.replace("{}", words) for f in table("deltaedit").file[0].settings["frames"]]
            rows.append(F.normalize(F.normalize(module.encode_text(open_clip.tokenize(prompts)), dim=1).mean(0), dim=0))
        d = rows[0] - rows[1]
        x = torch.stack([torch.from_numpy(np.array(p.resize((48, 48), 2))) for p in PHOTOS.images])
        x = x.permute(0, 3, 1, 2).float() / 127.5 - 1  # 2: bilinear
        assert quick.image.size == 32
        pixels = F.avg_pool2d(F.interpolate(x, scale_factor=2, mode="nearest"), 3)
        i = F.normalize(module.encode_image(pixels), dim=1)
        styles = inverter.invert(x / 2 + 0.5)
        c = torch.cat([i, (d / d.norm()).expand(2, -1)], dim=1)
        full = change_of(torch.load(files / "net_face.pth"), styles.s, c)
        mask = (torch.from_numpy(np.load(files / "fs3.npy")) @ d).abs() >= 0.03
        after = draws.synthesise(Styles(styles.s + mask * full, styles.rest))
    assert 0 < int(mask.sum()) < 52
    assert found.change is not None
    torch.testing.assert_close(found.change, mask * full, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.after, after, rtol=1e-3, atol=1e-3)


def convert_method(folder: Path, slug: str) -> Any:
    about = stated(folder)
    assert about.slug == slug
    assert about.system is not None
    return about.system


def test_the_templates_are_79_of_imagenets() -> None:
    frames = table("deltaedit").file[0].settings["frames"]
    theirs = {t("{}") for t in open_clip.OPENAI_IMAGENET_TEMPLATES}
    assert (len(frames), theirs - set(frames)) == (79, {"a photo of many {}."})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("fm_fine.mapping.3.bias"), r"1 missing \(fm_fine\.mapping\.3\.bias\)"),
        (
            lambda s: s.update({"sm_coarse.mapping.5.bias": s.pop("sm_coarse.mapping.4.bias")}),
            r"1 missing \(sm_coarse\.mapping\.4\.bias\); 1 unexpected \(sm_coarse\.mapping\.5\.bias\)",
        ),
        (
            lambda s: s.update({"cm_medium.mapping.1.weight": s["cm_medium.mapping.1.weight"].T}),
            r"another shape \(cm_medium\.mapping\.1\.weight\)",
        ),
    ],
)
def test_a_mapper_that_does_not_fit_is_named(
    quick: Backbone, files: Path, change: Callable[[State], Any], said: str
) -> None:
    state = torch.load(files / "net_face.pth")
    change(state)
    torch.save(state, files / "net_face.pth")
    with pytest.raises(DataError, match=said):
        converted(files, quick)
    assert not (files / "out").exists()


def test_what_a_mapper_needs_is_asked_for(quick: Backbone, files: Path) -> None:
    with pytest.raises(UsageError, match=r"belongs to one generator.* such as stylegan2-ffhq-config-f\.pt"):
        converted(files, quick, generator=None)
    with pytest.raises(UsageError, match="draws by no generator of yours"):
        convert("galip", files / "net_face.pth", files / "out", Run(), backbone=lambda: quick, generator="small")
    np.save(files / "fs3.npy", np.zeros((51, quick.image.dim)))
    with pytest.raises(DataError, match=r"another shape \(fs3\.npy\)"):
        converted(files, quick)
    whole = (files / "fs3.npy").read_bytes()
    for content in (whole[:200], b"not at all", np.array(None, dtype=object).dumps()):
        (files / "fs3.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"fs3\.npy is not a readable array"):
            converted(files, quick)
    (files / "fs3.npy").unlink()
    with pytest.raises(UsageError, match=r"needs fs3\.npy of the authors' repository beside net_face\.pth"):
        converted(files, quick)
    with pytest.raises(UsageError, match="inverts pictures of StyleGAN2"):
        load_inverter(str(files / "net_face.pth"), object())


# --- CLIPInverter


def adapters_file(draws: StyleGAN2, dim: int) -> dict[str, Any]:
    """Return a file as the authors write it: adapters, refinement and generator in one state dict."""
    state: State = {f"decoder.{n}": t for n, t in draws.weights.items() if n != "latent_avg"}
    state["decoder.convs.0.conv.blur.kernel"] = torch.ones(4, 4)
    count = draws.latents - 2

    def add(name: str, *shape: int) -> None:
        state[name] = 0.3 * drawn(*shape, seed=len(state)) + (1.0 if "norm" in name and "weight" in name else 0.0)

    for level, wide in (("coarse", 32), ("medium", 32), ("fine", 16)):
        name = f"adapter.{level}_mapping.modulation_module_list.0"
        add(f"{name}.conv.weight", wide, wide, 3, 3)
        for layer, inner in (("gamma_function", wide), ("beta_function", wide)):
            for k, shape in ((0, (dim, dim)), (1, (dim,)), (3, (inner, dim))):
                add(f"{name}.{layer}.{k}.weight", *shape)
                add(f"{name}.{layer}.{k}.bias", shape[0])
        add(f"{name}.norm.weight", wide)
        add(f"{name}.norm.bias", wide)
    for i in range(count):
        for k, shape in ((0, (8, dim)), (2, (8, 8)), (3, (8,)), (5, (draws.style_dim, 8))):
            add(f"decoder.affine_mlps.{i}.{k}.weight", *shape)
            add(f"decoder.affine_mlps.{i}.{k}.bias", shape[0])
        state[f"decoder.lambdas.{i}"] = torch.tensor(0.1 * (i + 1))
    return {"state_dict": state, "opts": {"no_coarse_mapper": False}}


@pytest.fixture
def inverted(quick: Backbone, tmp_path: Path) -> Path:
    """A folder with an inverter, and with adapters for its generator."""
    written(released(), tmp_path)
    torch.save(adapters_file(generator(), quick.text.dim), tmp_path / "faces.pt")
    return tmp_path


SMALL = {"groups": 8, "width": 8}


def adapted(folder: Path, quick: Backbone, **given: Any) -> Path:
    words = {"generator": str(folder / "faces.pt"), "inverter": str(folder / "e4e.pt"), **given}
    convert("clipinverter", folder / "faces.pt", folder / "out", Run(), backbone=lambda: quick, settings=SMALL, **words)
    return folder / "out"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float64, 1e-11)])
def test_clipinverters_adapters(
    quick: Backbone, inverted: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, tolerance: float
) -> None:
    """In float64 nothing is left of the difference, so that in float32 it is rounding."""
    out, draws = adapted(inverted, quick), load_stylegan2(inverted / "faces.pt")
    maps = load_inverter(str(inverted / "e4e.pt"), draws)
    fitted: Any = fitted_editor(Kit({"main": quick, "generator": draws, "maps": maps}), Run(),
                                method=convert_method(out, "clipinverter"), folder=out)  # fmt: skip
    whole = type(fitted).networks
    monkeypatch.setattr(type(fitted), "networks", lambda self, run: whole(self, run).to(dtype))
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)).to(dtype)
    e = drawn(1, quick.text.dim).to(dtype)
    found = fitted.edited(x, e, Run())
    state = {name: t.to(dtype) for name, t in torch.load(inverted / "faces.pt")["state_dict"].items()}

    def through(name: str, steps: tuple[int, ...], y: Tensor, slope: float) -> Tensor:
        for k in steps:
            weight, bias = state[f"{name}.{k}.weight"], state[f"{name}.{k}.bias"]
            y = F.layer_norm(y, y.shape[-1:], weight, bias) if weight.ndim == 1 else F.linear(y, weight, bias)
            y = F.leaky_relu(y, slope) if weight.ndim == 1 or (slope == 0 and k == 0) else y
        return y

    def changed(level: str, c: Tensor) -> Tensor:
        name = f"adapter.{level}_mapping.modulation_module_list.0"
        h = F.conv2d(c / (c.square().mean(1, keepdim=True) + 1e-8).sqrt(), state[f"{name}.conv.weight"], padding=1)
        h = F.group_norm(h, 8, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
        gain, shift = (through(f"{name}.{part}_function", (0, 1, 3), e, 0.01) for part in ("gamma", "beta"))
        return F.leaky_relu(h * (1 + gain.exp()[:, :, None, None]) + shift[:, :, None, None], 0.01)

    with torch.no_grad():
        three = [changed(level, c) for level, c in zip(("fine", "medium", "coarse"), maps.maps(x), strict=True)]
        w = maps.w_plus(x) + 0.1 * maps.codes(tuple(three))
        pulled = w.clone()
        for i in range(draws.latents - 2):
            share = 0.9 * state[f"decoder.lambdas.{i}"]
            pulled[:, i + 1] = (1 - share) * w[:, i + 1] + share * through(
                f"decoder.affine_mlps.{i}", (0, 2, 3, 5), e, 0.0
            )
        change = draws.styles(pulled).s - draws.styles(maps.w_plus(x)).s
        after = draws.synthesise(Styles(draws.styles(pulled).s, draws.styles(w).rest))
    assert float(change.abs().max()) > 0.1
    assert found.change is not None
    torch.testing.assert_close(found.change, change, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found.after, after, rtol=tolerance, atol=tolerance)


def test_photos_come_straight_to_the_side_that_the_encoder_reads(quick: Backbone, inverted: Path) -> None:
    out, draws = adapted(inverted, quick), load_stylegan2(inverted / "faces.pt")
    maps = load_inverter(str(inverted / "e4e.pt"), draws)
    fitted: Any = fitted_editor(Kit({"main": quick, "generator": draws, "maps": maps}), Run(),
                                method=convert_method(out, "clipinverter"), folder=out)  # fmt: skip
    photo = picture(1, 1).resize((300, 300))
    found = fitted.edit(EditAsk("", "a red wall", images=Pictures((photo,))), Run())
    x = torch.from_numpy(np.array(photo.resize((256, 256), 2))).permute(2, 0, 1)[None].float() / 255  # 2: bilinear
    w = maps.w_plus(x)
    drawn_again = draws.synthesise(draws.styles(w))
    torch.testing.assert_close(found.before, drawn_again, rtol=1e-4, atol=1e-5)
    large = F.interpolate(drawn_again, scale_factor=8.0, mode="nearest")  # from 32 to 256 pixels
    assert found.facts[0]["inversion_error"] == pytest.approx(float((large - x).square().mean()), abs=2e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("decoder.lambdas.2"), r"faces\.pt lacks decoder\.lambdas\.2, beside decoder\.lambdas\.5"),
        (
            lambda s: s.pop("adapter.fine_mapping.modulation_module_list.0.conv.weight"),
            r"1 missing \(adapter\.fine_mapping\.modulation_module_list\.0\.conv\.weight\)",
        ),
        (
            lambda s: s.update({"adapter.x": s.pop("decoder.affine_mlps.0.5.bias")}),
            r"1 missing \(decoder\.affine_mlps\.0\.5\.bias\); 1 unexpected \(adapter\.x\)",
        ),
        (lambda s: s["decoder.conv1.conv.weight"].add_(1), r"another generator .* in decoder\.conv1\.conv\.weight"),
        (lambda s: s.pop("decoder.to_rgb1.bias"), r"another generator .* differs in decoder\.to_rgb1\.bias"),
    ],
)  # fmt: skip
def test_adapters_that_do_not_fit_are_named(
    quick: Backbone, inverted: Path, change: Callable[[State], Any], said: str
) -> None:
    content = adapters_file(generator(), quick.text.dim)
    change(content["state_dict"])
    torch.save(content, inverted / "faces.pt")
    with pytest.raises(DataError, match=said):
        adapted(inverted, quick, generator=str(inverted / "e4e.pt"))


def test_adapters_need_an_inverter(quick: Backbone, inverted: Path) -> None:
    with pytest.raises(MissingPart, match=r"no encoder through feature maps: give a file of e4e"):
        adapted(inverted, quick, inverter=None)
