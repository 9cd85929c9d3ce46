"""Our open_clip adapter against open_clip's own loading, transforms and tokenizers, on the same files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from diptych.backbones.sources.load import load
from diptych.backbones.sources.openclip import trimmable
from diptych.backbones.sources.openclip_sources import from_model
from diptych.core import MissingHook, NotAvailable, UsageError
from tests.support.checkpoints import FAMILIES, SENTENCES, gap, openclip_model

Folder = Callable[..., Path]


@pytest.mark.parametrize("family", FAMILIES)
def test_same_vectors_as_open_clip_from_the_same_folder(
    family: str, openclip_folder: Folder, photos: list[Image.Image]
) -> None:
    folder = openclip_folder(family)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    ours = load(f"local:{folder}", offline=True)
    with torch.no_grad():
        pixels = torch.stack([transform(p) for p in photos])
        assert torch.equal(ours.image.inputs(photos), pixels)
        assert gap(ours.image.encode(ours.image.inputs(photos)), model.encode_image(pixels, normalize=False)) <= 1e-5
        theirs = model.encode_text(tokenizer(SENTENCES), normalize=False)
        assert gap(ours.text.encode(ours.text.inputs(SENTENCES)), theirs) <= 1e-5
        assert torch.allclose(ours.scale()[0], model.logit_scale.exp())
        bias = torch.zeros(()) if model.logit_bias is None else model.logit_bias
        assert torch.allclose(ours.scale()[1], bias)


@pytest.mark.parametrize("family", FAMILIES)
def test_spec_states_what_the_folder_says(family: str, openclip_folder: Folder) -> None:
    folder = openclip_folder(family)
    backbone = load(f"local:{folder}", offline=True)
    config, pixels = FAMILIES[family]
    spec = backbone.spec
    assert (spec.family, spec.dim, spec.context) == (
        "openclip",
        config["embed_dim"],
        config["text_cfg"]["context_length"],
    )
    assert (spec.pixels.size, spec.pixels.mean) == (config["vision_cfg"]["image_size"], tuple(pixels["mean"]))
    assert (spec.pixels.interpolation, spec.pixels.resize) == (
        pixels.get("interpolation", "bicubic"),
        pixels.get("resize_mode", "shortest"),
    )
    assert spec.score == ("sigmoid" if family == "siglip" else "softmax")
    assert spec.activation.endswith("quick_gelu" if family == "vit-quickgelu" else "gelu")
    assert backbone.image.dim == backbone.text.dim == spec.dim
    assert backbone.image.size == spec.pixels.size


@pytest.mark.parametrize("family", FAMILIES)
def test_always_eval_mode(family: str, openclip_folder: Folder) -> None:
    backbone = load(f"local:{openclip_folder(family)}", offline=True)
    assert not any(m.training for m in backbone.module().modules())


def test_train_mode_would_have_given_other_vectors(openclip_folder: Folder, photos: list[Image.Image]) -> None:
    """The trap that eval mode closes: open_clip answers in train mode, and batch norms then look at the batch."""
    folder = openclip_folder("resnet")
    ours = load(f"local:{folder}", offline=True)
    model = open_clip.create_model(f"local-dir:{folder}")
    assert model.training
    with torch.no_grad():
        pixels = ours.image.inputs(photos)
        assert gap(model.encode_image(pixels), ours.image.encode(pixels)) > 0.1


def test_wrapping_a_built_model_puts_it_in_eval_mode(openclip_folder: Folder) -> None:
    spec = load(f"local:{openclip_folder('resnet')}", offline=True).spec
    model = openclip_model(FAMILIES["resnet"][0]).train()
    assert not from_model(model, spec).module().training


@pytest.mark.parametrize("family", ["vit", "vit-custom-text"])
def test_trimmed_text_is_exact(family: str, openclip_folder: Folder) -> None:
    backbone = load(f"local:{openclip_folder(family)}", offline=True)
    texts = [*SENTENCES, "", "x " * 30]
    ids = backbone.text.inputs(texts)
    full = open_clip.tokenize(texts)
    assert ids.shape[1] < 77
    assert torch.equal(full[:, : ids.shape[1]], ids)
    with torch.no_grad():
        assert gap(backbone.text.encode(ids), backbone.text.encode(full)) <= 1e-6


def test_trimmed_text_keeps_gradients(openclip_folder: Folder) -> None:
    backbone = load(f"local:{openclip_folder('vit')}", offline=True)
    backbone.text.encode(backbone.text.inputs(["a cat"])).sum().backward()
    gradient = backbone.module().get_parameter("positional_embedding").grad
    assert gradient is not None
    assert gradient[:4].abs().min() > 0
    assert gradient[4:].abs().max() == 0


@pytest.mark.parametrize(("family", "length"), [("mobileclip", 77), ("siglip", 64), ("coca", 76)])
def test_text_is_padded_in_full_where_padding_is_seen(family: str, length: int, openclip_folder: Folder) -> None:
    backbone = load(f"local:{openclip_folder(family)}", offline=True)
    assert not trimmable(backbone.module())
    assert backbone.text.inputs(["a cat"]).shape == (1, length)


@pytest.mark.parametrize("family", ["mobileclip", "siglip"])
def test_padding_changes_vectors_of_non_causal_text(family: str, openclip_folder: Folder) -> None:
    """The trap behind the test above: another padding id gives other vectors."""
    backbone = load(f"local:{openclip_folder(family)}", offline=True)
    ids = backbone.text.inputs(["a cat"])
    other = ids.clone()
    other[0, 10:] = 5
    with torch.no_grad():
        assert gap(backbone.text.encode(other), backbone.text.encode(ids)) > 1e-3


def test_too_long_text_is_an_error_unless_truncation_is_asked_for(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    long = "cat " * 100
    strict, cutting = load(f"local:{folder}"), load(f"local:{folder}", truncate=True)
    with pytest.raises(UsageError, match="102 tokens and this model reads 77"):
        strict.text.inputs(["a cat", long])
    assert torch.equal(cutting.text.inputs([long]), open_clip.tokenize([long]))
    assert strict.text.inputs(["cat " * 75]).shape == (1, 77)
    assert strict.text.fingerprint != cutting.text.fingerprint
    assert strict.image.fingerprint == cutting.image.fingerprint


def test_image_tensors_are_only_normalised_and_stay_differentiable(
    openclip_folder: Folder, photos: list[Image.Image]
) -> None:
    backbone = load(f"local:{openclip_folder('vit')}", offline=True)
    square = photos[2].resize((32, 32), Image.Resampling.BICUBIC)
    x = (torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255).requires_grad_()
    batch = backbone.image.inputs([x])
    assert torch.allclose(batch, backbone.image.inputs([square]), atol=1e-6)
    backbone.image.encode(batch).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 16, 16), torch.zeros(32, 32, 3), torch.zeros(3, 32, 32, dtype=torch.uint8)]
)
def test_image_tensors_of_another_shape_are_refused(wrong: torch.Tensor, openclip_folder: Folder) -> None:
    backbone = load(f"local:{openclip_folder('vit')}", offline=True)
    with pytest.raises(UsageError, match=r"float \(3, 32, 32\)"):
        backbone.image.inputs([wrong])


def test_another_side_where_the_tower_allows_it(openclip_folder: Folder, photos: list[Image.Image]) -> None:
    convnext = load(f"local:{openclip_folder('convnext', 'a')}", offline=True)
    with torch.no_grad():
        assert convnext.image.encode(convnext.image.inputs(photos, 96)).shape == (3, 12)
    for family in ("vit", "resnet", "eva"):
        with pytest.raises(UsageError, match="pixels only"):
            load(f"local:{openclip_folder(family, family)}", offline=True).image.inputs(photos, 96)


def test_empty_batches(openclip_folder: Folder) -> None:
    backbone = load(f"local:{openclip_folder('vit')}", offline=True)
    assert backbone.image.inputs([]).shape == (0, 3, 32, 32)
    assert backbone.text.inputs([]).shape[0] == 0


def test_hooks_reach_the_towers(openclip_folder: Folder, photos: list[Image.Image]) -> None:
    backbone = load(f"local:{openclip_folder('vit', 'a')}", offline=True)
    pixels = backbone.image.inputs(photos)
    tower = backbone.tower("image")
    with torch.no_grad():
        ours = tower.project(tower.pooled(tower.blocks(tower.start(pixels))))
        assert gap(ours, backbone.image.encode(pixels)) <= 1e-5
        assert backbone.dense().maps(pixels)[-1].shape[0] == 3
    with pytest.raises(MissingHook):
        load(f"local:{openclip_folder('convnext', 'b')}", offline=True).tower("image")


def test_fingerprints_follow_what_decides_on_the_vectors(openclip_folder: Folder) -> None:
    base = load(f"local:{openclip_folder('vit', 'a')}")
    again = load(f"local:{openclip_folder('vit', 'b')}")
    quick = load(f"local:{openclip_folder('vit-quickgelu', 'c')}")
    pixels = FAMILIES["vit"][1]
    squashed = load(f"local:{openclip_folder('vit', 'd', preprocess_cfg={**pixels, 'resize_mode': 'squash'})}")
    assert again.fingerprint == base.fingerprint
    assert quick.spec.weights == base.spec.weights
    assert quick.image.fingerprint != base.image.fingerprint
    assert quick.text.fingerprint != base.text.fingerprint
    assert squashed.image.fingerprint != base.image.fingerprint
    assert squashed.text.fingerprint == base.text.fingerprint


def test_rebuild_gives_a_new_identity_and_the_same_kind(openclip_folder: Folder) -> None:
    backbone = load(f"local:{openclip_folder('vit')}", offline=True)
    module = openclip_model(FAMILIES["vit"][0], seed=1)
    rebuilt = backbone.rebuild(module, backbone.spec)
    assert rebuilt.module() is module
    assert not module.training
    assert rebuilt.fingerprint != backbone.fingerprint
    assert rebuilt.spec.weights.startswith("state:")
    assert (
        rebuilt.fingerprint == backbone.rebuild(openclip_model(FAMILIES["vit"][0], seed=1), backbone.spec).fingerprint
    )


def test_a_published_architecture_with_random_weights(photos: list[Image.Image]) -> None:
    backbone = load("openclip:ViT-S-32-alt", weights="random", seed=3, offline=True)
    assert backbone.spec.weights == "random:3"
    with torch.no_grad():
        assert backbone.image.encode(backbone.image.inputs(photos)).shape == (3, 256)
        assert backbone.text.encode(backbone.text.inputs(SENTENCES)).shape == (3, 256)


def test_random_weights_without_a_tokenizer_still_encode_ids(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {**FAMILIES["siglip"][0]}
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(json.dumps(small)))
    backbone = load("ViT-B-16-SigLIP/webli", weights="random", offline=True)
    with torch.no_grad():
        assert backbone.text.encode(torch.full((2, 64), 5)).shape == (2, 192)
    with pytest.raises(NotAvailable, match="org/siglip-tokenizer"):
        backbone.text.inputs(["a cat"])
