"""Inverters of e4e and pSp: files with the released names, against modules of torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.generators.load import load_generator, load_inverter, load_stylegan2
from diptych.backbones.generators.pyramid import PyramidInverter
from diptych.core import DataError, Inverter, Kit, MapInverter, UsageError
from diptych.features import portable
from diptych.methods.edit.deltaedit import DeltaEdit, FittedDeltaEdit
from tests.backbones.generators.inverter_files import LATENTS, SIZE, STYLE, encoder, generator, released, written
from tests.support.backbone import SmallBackbone

PHOTOS = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(5))
MEAN = torch.linspace(-1, 1, STYLE)


def opened(content: object, folder: Path) -> PyramidInverter:
    path = written(content, folder)
    return load_inverter(str(path), load_stylegan2(path))


@pytest.mark.parametrize("kind", ["e4e", "pSp"])
def test_codes_against_modules_of_torch(kind: str, tmp_path: Path) -> None:
    inverter = opened(released(kind), tmp_path)
    with torch.no_grad():
        expected = MEAN + encoder(kind)(PHOTOS * 2 - 1)
        found = inverter.w_plus(PHOTOS)
    assert inverter.kind == kind
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert float(expected.std(0).max()) > 0.01  # photos differ in it
    assert torch.equal(inverter.mean, MEAN)
    styles = inverter.invert(PHOTOS)
    torch.testing.assert_close(styles.rest.reshape(2, LATENTS, STYLE), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(styles.s, inverter.generator.styles(styles.rest.reshape(2, LATENTS, STYLE)).s)


def test_both_networks_differ(tmp_path: Path) -> None:
    one, other = (opened(released(kind), tmp_path) for kind in ("e4e", "pSp"))
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == opened(released("e4e"), tmp_path).fingerprint
    assert not torch.allclose(one.w_plus(PHOTOS[:1]), other.w_plus(PHOTOS[:1]), atol=1e-2)


def test_it_has_maps_that_can_be_changed(tmp_path: Path) -> None:
    inverter = opened(released(), tmp_path)
    assert isinstance(inverter, MapInverter)
    assert isinstance(inverter, Inverter)
    maps = inverter.maps(PHOTOS[:1])
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 64, 64), (32, 32, 32), (32, 16, 16)]
    assert inverter.widths == (16, 32, 32)
    assert torch.equal(inverter.mean + inverter.codes(maps), inverter.w_plus(PHOTOS[:1]))


def test_photos_of_other_sizes_are_resized_and_none_are_none(tmp_path: Path) -> None:
    inverter = opened(released(), tmp_path)
    small = torch.nn.functional.interpolate(PHOTOS, size=(64, 64), mode="area")
    again = torch.nn.functional.interpolate(small, size=(256, 256), mode="bilinear", antialias=True)
    torch.testing.assert_close(inverter.w_plus(small), inverter.w_plus(again))
    assert inverter.invert(PHOTOS[:0]).s.shape == (0, sum(inverter.generator.channels))


def test_what_the_codes_start_from(tmp_path: Path) -> None:
    content = released()
    w = opened(content, tmp_path).w_plus(PHOTOS[:1])
    content["opts"]["start_from_latent_avg"] = False
    torch.testing.assert_close(opened(content, tmp_path).w_plus(PHOTOS[:1]), w - MEAN, rtol=1e-4, atol=1e-4)
    each = torch.randn(LATENTS, STYLE, generator=torch.Generator().manual_seed(2))
    own = opened({**released(), "latent_avg": each}, tmp_path)
    torch.testing.assert_close(own.w_plus(PHOTOS[:1]), w - MEAN + each, rtol=1e-4, atol=1e-4)
    for mean in (None, torch.zeros(3, STYLE)):
        with pytest.raises(DataError, match="latent_avg, which its codes start from"):
            opened({**released(), "latent_avg": mean}, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("encoder.styles.7.linear.bias"), r"1 missing \(styles\.7\.linear\.bias\)"),
        (
            lambda s: s.update({"encoder.latlayer3.bias": s.pop("encoder.latlayer2.bias")}),
            r"missing \(latlayer2\.bias\); 1 unexpected \(latlayer3\.bias\)",
        ),
        (
            lambda s: s.update({n: s[n].transpose(0, 1) for n in ["encoder.body.7.res_layer.1.weight"]}),
            r"another shape \(body\.7\.res_layer\.1\.weight\)",
        ),
        (lambda s: [s.pop(n) for n in list(s) if n.startswith("encoder.styles.")], r"missing \(.*\.\.\.\)"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(change: Callable[[Any], Any], message: str, tmp_path: Path) -> None:
    content = released()
    change(content["state_dict"])
    with pytest.raises(DataError, match=message):
        opened(content, tmp_path)


def test_other_files_get_a_sentence(tmp_path: Path) -> None:
    draws, content = generator(), released()
    one_code = {**content, "opts": {"encoder_type": "SingleStyleCodeEncoder"}}
    sketches = released()
    name = "encoder.input_layer.0.weight"
    sketches["state_dict"][name] = sketches["state_dict"][name][:, :1]
    cases = {
        "type SingleStyleCodeEncoder, which is not read": one_code,
        "type none, which is not read": {**content, "opts": {}},
        "pictures of 1 channels": sketches,
        "holds no inverter: give a file of e4e or pSp": {"g_ema": draws.weights},
    }
    for message, tensors in cases.items():
        with pytest.raises(DataError, match=message):
            load_inverter(str(written(tensors, tmp_path)), draws)
    with pytest.raises(UsageError, match=r"give a file with its weights as generator"):
        load_inverter("e4e.pt", FactorGenerator())
    small = load_generator("small")[0]  # of 32 pixels too, with a wider w
    with pytest.raises(DataError, match=r"a generator of 32 pixels, tensors .* give the inverter of this generator"):
        load_inverter(str(written(content, tmp_path)), small)


def test_an_editor_names_its_inverter_and_whoever_loads_brings_it(tmp_path: Path) -> None:
    inverter, backbone = opened(released(), tmp_path), SmallBackbone()
    relevance = torch.zeros(sum(inverter.generator.channels), backbone.image.dim)
    fitted = FittedDeltaEdit(backbone, DeltaEdit(), inverter.generator, inverter, relevance, {})
    portable.save(fitted, tmp_path / "editor")
    assert (tmp_path / "editor" / "tensors.safetensors").stat().st_size < 2e5  # the encoder alone is larger
    parts = {"main": backbone, "generator": inverter.generator, "inverter": inverter}
    assert portable.load(tmp_path / "editor", Kit(parts)).inverter is inverter
    other = opened(released("pSp"), tmp_path)
    for kit in (Kit({"main": backbone}), Kit({**parts, "inverter": other})):
        with pytest.raises(UsageError, match=r"was fitted on the inverter e4e .*: give its file as inverter"):
            portable.load(tmp_path / "editor", kit)
    assert inverter.generator.size == SIZE
