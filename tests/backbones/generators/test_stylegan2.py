from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from diptych.backbones.generators import load as loading
from diptych.backbones.generators import stylegan2
from diptych.backbones.generators.load import ConvInverter, load_generator, load_stylegan2
from diptych.backbones.generators.stylegan2 import StyleGAN2
from diptych.core import DataError, Inverter, StyleGenerator, Styles, UsageError
from recipes.fresh_generators import fresh_encoder, fresh_weights

WIDTHS = {4: 6, 8: 5, 16: 4}
Array = NDArray[np.float64]


def weights(noise: bool = True) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    out = fresh_weights(16, 8, WIDTHS, 3, g)
    out = {n: t + 0.1 * torch.randn(t.shape, generator=g) if n.endswith("bias") else t for n, t in out.items()}
    for i, layer in enumerate(["conv1", *(f"convs.{k}" for k in range(4))] if noise else []):
        side = 4 << (i + 1) // 2
        out[f"{layer}.noise.weight"] = torch.tensor([0.3])
        out[f"noises.noise_{i}"] = torch.randn(1, 1, side, side, generator=g)
    return out


GENERATOR = StyleGAN2(weights())


def blurred(x: Array, pad: tuple[int, int], gain: float) -> Array:
    """(h, w) padded, then each pixel the weighted sum of 4 x 4, in loops."""
    row = np.array([1.0, 3.0, 3.0, 1.0])
    kernel = gain * np.outer(row, row) / row.sum() ** 2
    x = np.pad(x, pad)
    out = np.zeros((x.shape[0] - 3, x.shape[1] - 3))
    for a in range(4):
        for b in range(4):
            out += kernel[a, b] * x[a : a + out.shape[0], b : b + out.shape[1]]
    return out


def reference_conv(x: Array, weight: Array, s: Array, *, up: bool, demodulate: bool) -> Array:
    """One picture: weights modulated, demodulated, then slid, all by loops over channels and taps."""
    out_channels, into, k, _ = weight.shape
    w = weight / math.sqrt(into * k * k) * s[None, :, None, None]
    if demodulate:
        w = w / np.sqrt((w**2).sum((1, 2, 3), keepdims=True) + 1e-8)
    h = x.shape[1]
    maps = []
    for o in range(out_channels):
        if up:  # every pixel stamps its weights on a canvas of twice the size, then the blur
            canvas = np.zeros((2 * h + 1, 2 * h + 1))
            for i in range(into):
                for r in range(h):
                    for c in range(h):
                        canvas[2 * r : 2 * r + k, 2 * c : 2 * c + k] += x[i, r, c] * w[o, i]
            maps.append(blurred(canvas, (1, 1), 4.0))
        else:
            padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
            total = np.zeros((h, h))
            for i in range(into):
                for a in range(k):
                    for b in range(k):
                        total += w[o, i, a, b] * padded[i, a : a + h, b : b + h]
            maps.append(total)
    return np.stack(maps)


def reference(state: dict[str, Tensor], s: list[Array], w_plus: Array, clamp: float = math.inf) -> Array:
    """The whole synthesis network for one picture, layer by layer as the paper draws it; ``clamp``: of 2-ada."""
    n = {name: t.double().numpy() for name, t in state.items()}
    x, rgb = n["input.input"][0], None
    for i, layer in enumerate(["conv1", "convs.0", "convs.1", "convs.2", "convs.3"]):
        x = reference_conv(x, n[f"{layer}.conv.weight"][0], s[i], up=i % 2 == 1, demodulate=True)
        x = x + n[f"{layer}.noise.weight"] * n[f"noises.noise_{i}"][0, 0] + n[f"{layer}.activate.bias"][:, None, None]
        x = (np.where(x > 0, x, 0.2 * x) * math.sqrt(2)).clip(-clamp, clamp)
        if i % 2 == 0:
            layer = "to_rgb1" if i == 0 else f"to_rgbs.{i // 2 - 1}"
            name = f"{layer}.conv.modulation"
            style = n[f"{name}.weight"] / math.sqrt(8) @ w_plus[i + 1] + n[f"{name}.bias"]
            own = (
                reference_conv(x, n[f"{layer}.conv.weight"][0], style, up=False, demodulate=False)
                + n[f"{layer}.bias"][0]
            )
            own = own.clip(-clamp, clamp)
            if rgb is not None:
                spread = np.zeros((3, 2 * rgb.shape[1], 2 * rgb.shape[1]))
                spread[:, ::2, ::2] = rgb
                own = own + np.stack([blurred(c, (2, 1), 4.0) for c in spread])
            rgb = own
    assert rgb is not None
    return rgb / 2 + 0.5


def test_the_network_against_loops() -> None:
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    w_plus = GENERATOR.map(z) + 0.3 * torch.randn(
        2, 6, 8, generator=torch.Generator().manual_seed(4)
    )  # unlike w in every layer
    styles = GENERATOR.styles(w_plus)
    found = GENERATOR.unclipped(styles)
    for b in range(2):
        parts = [t.double().numpy() for t in styles.s[b].split(list(GENERATOR.channels))]
        expected = reference(dict(GENERATOR.weights), parts, w_plus[b].double().numpy())
        np.testing.assert_allclose(found[b].numpy(), expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(GENERATOR.synthesise(styles), found.clamp(0, 1))


def test_layers_that_2_ada_limits_against_loops() -> None:
    limited = StyleGAN2({**GENERATOR.weights, "conv_clamp": torch.tensor(0.8)})
    w_plus = limited.map(torch.randn(1, 8, generator=torch.Generator().manual_seed(3)))
    styles = limited.styles(w_plus)
    parts = [t.double().numpy() for t in styles.s[0].split(list(limited.channels))]
    expected = reference(dict(GENERATOR.weights), parts, w_plus[0].double().numpy(), clamp=0.8)
    np.testing.assert_allclose(limited.unclipped(styles)[0].numpy(), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(limited.unclipped(styles), GENERATOR.unclipped(styles), atol=0.1)
    assert limited.fingerprint != GENERATOR.fingerprint


def test_mapping_and_styles_against_their_formulas() -> None:
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    n = {name: t.double().numpy() for name, t in GENERATOR.weights.items()}
    for b in range(2):
        w = z[b].double().numpy()
        w = w / np.sqrt((w**2).mean() + 1e-8)
        for i in (1, 2, 3):
            w = 0.01 / math.sqrt(8) * n[f"style.{i}.weight"] @ w + 0.01 * n[f"style.{i}.bias"]
            w = np.where(w > 0, w, 0.2 * w) * math.sqrt(2)
        np.testing.assert_allclose(GENERATOR.map(z)[b, 0].numpy(), w, rtol=1e-4, atol=1e-5)
        name = "convs.2.conv.modulation"
        own = n[f"{name}.weight"] / math.sqrt(8) @ w + n[f"{name}.bias"]
        np.testing.assert_allclose(GENERATOR.styles(GENERATOR.map(z)).s[b, 17:22].numpy(), own, rtol=1e-4, atol=1e-5)


def test_sizes_follow_from_the_weights() -> None:
    assert isinstance(GENERATOR, StyleGenerator)
    assert (GENERATOR.size, GENERATOR.style_dim, GENERATOR.latents, GENERATOR.channels) == (16, 8, 6, (6, 6, 5, 5, 4))
    channels = {r: min(512, 32768 // r) for r in (4, 8, 16, 32, 64, 128, 256, 512, 1024)}
    with torch.device("meta"):
        whole = fresh_weights(1024, 512, channels, 1, None)  # type: ignore[arg-type]
    assert sum(StyleGAN2(whole).channels) == 6048
    assert StyleGAN2(whole).latents == 18


def test_pictures_have_gradients_and_do_not_depend_on_each_other() -> None:
    drawn = GENERATOR.sample(3, torch.Generator().manual_seed(0))
    s = drawn.s.clone().requires_grad_()
    GENERATOR.unclipped(Styles(s, drawn.rest)).square().sum().backward()
    assert s.grad is not None
    assert (s.grad.abs() > 0).all()
    alone = torch.cat([GENERATOR.synthesise(drawn.take(slice(i, i + 1))) for i in range(3)])
    torch.testing.assert_close(alone, GENERATOR.synthesise(drawn), rtol=1e-4, atol=1e-5)


def test_truncation_ends_at_the_mean() -> None:
    mean = GENERATOR.map(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))[:, 0].mean(0)
    known = {**GENERATOR.weights, "latent_avg": mean}
    w = StyleGAN2(known, 0.0).map(torch.randn(2, 8))
    torch.testing.assert_close(w, mean.expand(2, 6, 8))
    assert torch.equal(StyleGAN2(known).map(torch.ones(1, 8)), GENERATOR.map(torch.ones(1, 8)))
    assert StyleGAN2(known, 0.5).fingerprint != StyleGAN2(known).fingerprint


def nvidia(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same network under the names of stylegan2-ada-pytorch, written out."""
    out = {f"mapping.fc{i}.{p}": state[f"style.{i + 1}.{p}"] for i in range(3) for p in ("weight", "bias")}
    out["synthesis.b4.const"] = state["input.input"][0]
    for i, (layer, theirs) in enumerate(
        [
            ("conv1", "b4.conv1"),
            ("convs.0", "b8.conv0"),
            ("convs.1", "b8.conv1"),
            ("convs.2", "b16.conv0"),
            ("convs.3", "b16.conv1"),
        ]
    ):
        out[f"synthesis.{theirs}.weight"] = state[f"{layer}.conv.weight"][0]
        out[f"synthesis.{theirs}.bias"] = state[f"{layer}.activate.bias"]
        out[f"synthesis.{theirs}.noise_strength"] = state[f"{layer}.noise.weight"][0]
        out[f"synthesis.{theirs}.noise_const"] = state[f"noises.noise_{i}"][0, 0]
        out[f"synthesis.{theirs}.resample_filter"] = torch.ones(4, 4)
    for layer, theirs in (("to_rgb1", "b4.torgb"), ("to_rgbs.0", "b8.torgb"), ("to_rgbs.1", "b16.torgb")):
        out[f"synthesis.{theirs}.weight"] = state[f"{layer}.conv.weight"][0]
        out[f"synthesis.{theirs}.bias"] = state[f"{layer}.bias"].flatten()
    names = {"conv1": "b4.conv1", "to_rgb1": "b4.torgb", "to_rgbs.0": "b8.torgb", "to_rgbs.1": "b16.torgb"}
    names |= {"convs.0": "b8.conv0", "convs.1": "b8.conv1", "convs.2": "b16.conv0", "convs.3": "b16.conv1"}
    for ours, theirs in names.items():
        for part in ("weight", "bias"):
            out[f"synthesis.{theirs}.affine.{part}"] = state[f"{ours}.conv.modulation.{part}"]
    return {name: t.clone().contiguous() for name, t in out.items()}


def test_files_of_both_names_draw_the_same(tmp_path: Path) -> None:
    kernels = {"convs.0.conv.blur.kernel": torch.ones(4, 4), "to_rgbs.0.upsample.kernel": torch.ones(4, 4)}
    save_file({**weights(), **kernels}, tmp_path / "ours.safetensors")
    save_file(nvidia(weights()), tmp_path / "theirs.safetensors")
    drawn = []
    for name in ("ours", "theirs"):
        generator, inverter = load_generator(f"local:{tmp_path / name}.safetensors")
        assert inverter is None
        drawn.append(generator.synthesise(generator.sample(2, torch.Generator().manual_seed(0))))
    assert torch.equal(*drawn)
    assert torch.equal(drawn[0], GENERATOR.synthesise(GENERATOR.sample(2, torch.Generator().manual_seed(0))))


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    (tmp_path / "ffhq.pkl").write_bytes(pickle.dumps({"G_ema": None}))
    with pytest.raises(UsageError, match="convert it once, in a checkout"):
        load_stylegan2(tmp_path / "ffhq.pkl")
    with pytest.raises(UsageError, match="no weight file"):
        load_stylegan2(tmp_path / "none.safetensors")
    with pytest.raises(UsageError, match="names no generator"):
        load_generator("stylegan3")
    state = weights()
    cases = {
        "holds no StyleGAN2 generator": {"w": torch.ones(2)},
        "noises.noise_2": {n: t for n, t in state.items() if n != "noises.noise_2"},
        "convs.1.conv.weight": {**state, "convs.1.conv.weight": torch.ones(1, 5, 9, 3, 3)},
        "convs.3.conv.weight": {n: t for n, t in state.items() if n != "convs.3.conv.weight"},
        "StyleGAN2 has not: encoder.x": {**state, "encoder.x": torch.ones(1)},
        "no unconditional StyleGAN2": {**nvidia(state), "mapping.embed.weight": torch.ones(2, 2)},
        "is no tensor of StyleGAN2": {**nvidia(state), "synthesis.b8.conv0.magnitude_ema": torch.ones(1)},
    }
    for i, (message, tensors) in enumerate(cases.items()):
        save_file(tensors, tmp_path / f"{i}.safetensors")
        with pytest.raises(DataError, match=message):
            load_stylegan2(tmp_path / f"{i}.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x00not at all")
    with pytest.raises(DataError, match="damaged"):
        load_stylegan2(tmp_path / "broken.safetensors")


def test_the_inverter_gives_styles_of_its_code() -> None:
    generator = StyleGAN2(fresh_weights(32, 8, {**WIDTHS, 32: 3}, 1, torch.Generator().manual_seed(0)))
    inverter = ConvInverter(fresh_encoder(8, torch.Generator().manual_seed(1)), generator)
    assert isinstance(inverter, Inverter)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    found, code = inverter.invert(images), inverter.code(images)
    torch.testing.assert_close(found.rest.unflatten(1, (8, 8)), code[:, None].expand(-1, 8, -1))  # type: ignore[no-untyped-call]
    assert generator.synthesise(found).shape == (3, 3, 32, 32)


def test_the_doubling_keeps_a_flat_picture_flat() -> None:
    flat = stylegan2.doubled(torch.full((1, 3, 6, 6), 0.7))
    assert torch.allclose(flat[..., 2:-2, 2:-2], torch.tensor(0.7), atol=1e-6)


def test_small_draws_what_its_encoder_finds_again() -> None:
    if not loading.SMALL.is_file():
        pytest.skip("the weights of small are not in this tree")
    generator, inverter = load_generator("small")
    assert inverter is not None
    with torch.no_grad():
        pictures = generator.synthesise(generator.sample(32, torch.Generator().manual_seed(0)))
        again = generator.synthesise(inverter.invert(pictures))
    assert float((again - pictures).square().mean()) < 0.5 * float((pictures - pictures.mean(0)).square().mean())
