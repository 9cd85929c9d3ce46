from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diptych.backbones.diffusion.folder_parts import LAYOUTS
from diptych.backbones.diffusion.load import (
    SMALL_BANK,
    SMALL_SCENES,
    check_attention,
    check_one_encoder,
    load_diffusion,
    load_small,
)
from diptych.core import Backbone, DataError, MissingHook, NotAvailable, UsageError
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def test_weights_come_back_from_half_precision(vit: Backbone, tmp_path: Path) -> None:
    known = random_diffusion(vit)
    facts = {k: str(v) for k, v in known.layout.as_dict().items()}
    path = tmp_path / "net.safetensors"
    save_file({k: v.half() for k, v in known.weights.items()}, path, metadata=facts)
    found = load_small(vit, path)
    assert found.layout == known.layout
    for name, t in found.weights.items():
        assert t.dtype == torch.float32
        assert torch.equal(t, known.weights[name].half().float())
    assert not any(p.requires_grad for p in found.net.parameters())
    assert not found.net.training


def test_bad_files_and_names_are_named(vit: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(NotAvailable, match=r"no denoiser .*net.safetensors"):
        load_small(vit, path)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="fits its own layout"):
        load_small(vit, path)
    save_file({"x": torch.zeros(1)}, path, metadata={"size": "8"})
    with pytest.raises(DataError, match="fits its own layout"):
        load_small(vit, path)
    with pytest.raises(UsageError, match="'sd' names no denoiser"):
        load_diffusion("sd", vit)


def test_the_scenes_it_draws_fit_its_pictures() -> None:
    assert SMALL_SCENES.size == 32
    assert SMALL_SCENES.bank is SMALL_BANK
    assert len(SMALL_BANK.combinations()) == 48


@pytest.mark.parametrize(
    ("layout", "attention", "encoders"),
    [
        ("StableDiffusionPipeline", "", ""),
        ("StableDiffusionXLPipeline", "", "reads several text encoders, and UF-FGTG trains one"),
        ("StableDiffusion3Pipeline", "has no cross-attention, and Cut-and-Paste inverts", "reads several"),
    ],
)
def test_what_a_system_lacks_is_known_before_weights_are_read(
    tmp_path: Path, layout: str, attention: str, encoders: str
) -> None:
    for part in LAYOUTS[layout].parts:
        (tmp_path / part).mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": layout}))
    for check, system, words in (
        (check_attention, "Cut-and-Paste", attention), (check_one_encoder, "UF-FGTG", encoders),
    ):  # fmt: skip
        check("small", system)
        if words:
            with pytest.raises(MissingHook, match=words):
                check(f"local:{tmp_path}", system)
        else:
            check(f"local:{tmp_path}", system)
