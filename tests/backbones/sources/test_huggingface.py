"""Our transformers adapter against transformers' own loading, PIL processors and tokenizers, on the same files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil, SiglipImageProcessorPil

from diptych.backbones.sources.huggingface import FAMILIES, _vectors
from diptych.backbones.sources.huggingface_sources import recipe_of
from diptych.backbones.sources.load import load
from diptych.backbones.spec import Stated
from diptych.backbones.tokens import HubTokens
from diptych.core import DataError, NotAvailable, PixelRecipe, UsageError
from tests.support.checkpoints import (
    CLIP_END,
    SENTENCES,
    clip_tokenizer,
    gap,
    into_hub_cache,
    small_tokenizer,
    transformers_folder,
)

EVEN = ((4, 8), (9, 4), (6, 6))  # sides whose crop cuts an even number of pixels: see test_odd_crops
TRIED = ("clip", "metaclip_2", "siglip", "chinese_clip", "altclip")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("transformers")
    return {f: transformers_folder(root / f, f) for f in TRIED}


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in EVEN]
    return [Image.fromarray(s).resize((s.shape[1] * 40, s.shape[0] * 40), Image.Resampling.BICUBIC) for s in small]


@pytest.fixture
def clip(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(folders["clip"], tmp_path / "clip"))


def edit(path: Path, **changes: Any) -> None:
    facts = json.loads(path.read_text())
    for key, value in changes.items():
        part, _, name = key.partition("__")
        place, last = (facts[part], name) if name else (facts, part)
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize("family", TRIED)
def test_same_vectors_as_transformers_from_the_same_folder(
    family: str, folders: dict[str, Path], photos: list[Image.Image]
) -> None:
    folder = folders[family]
    model = AutoModel.from_pretrained(str(folder)).eval()
    processor = (SiglipImageProcessorPil if family == "siglip" else CLIPImageProcessorPil).from_pretrained(str(folder))
    pixels = processor(photos, return_tensors="pt").pixel_values
    ours = load(f"local:{folder}", offline=True)
    assert (ours.image.inputs(photos) - pixels).abs().max() <= 1e-5
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    padding = {"padding": "max_length", "max_length": 64} if family == "siglip" else {"padding": True}
    batch = tokenizer(SENTENCES, return_tensors="pt", **padding)
    kept = {"input_ids": batch["input_ids"]} | (
        {} if family == "siglip" else {"attention_mask": batch["attention_mask"]}
    )
    with torch.no_grad():
        assert (
            gap(
                ours.image.encode(ours.image.inputs(photos)),
                model.get_image_features(pixel_values=pixels).pooler_output,
            )
            <= 1e-5
        )
        assert gap(ours.text.encode(ours.text.inputs(SENTENCES)), model.get_text_features(**kept).pooler_output) <= 1e-5
        assert torch.allclose(ours.scale()[0], model.logit_scale.exp())
        assert torch.allclose(ours.scale()[1], model.logit_bias if family == "siglip" else torch.zeros(()))


def test_odd_crops_follow_training_not_the_processor(folders: dict[str, Path]) -> None:
    """transformers rounds half a pixel down, torchvision to even: their pictures differ by a shift, ours follow
    torchvision.
    """
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (32, 51, 3), dtype=np.uint8))
    pixels = load(f"local:{folders['clip']}").image.inputs([picture])[0, :, :, :-1]
    theirs = CLIPImageProcessorPil.from_pretrained(str(folders["clip"]))([picture], return_tensors="pt").pixel_values[0]
    assert torch.allclose(pixels, theirs[:, :, 1:], atol=1e-5)


@pytest.mark.parametrize("family", TRIED)
def test_spec_and_logits(family: str, folders: dict[str, Path], photos: list[Image.Image]) -> None:
    backbone = load(f"local:{folders[family]}", offline=True)
    spec = backbone.spec
    assert (spec.family, spec.architecture, spec.pixels.size, backbone.image.size) == ("huggingface", family, 32, 32)
    assert len(spec.weights) == 64
    assert spec.score == ("sigmoid" if family == "siglip" else "softmax")
    assert spec.pixels.resize == ("squash" if family == "siglip" else "shortest")
    assert not any(m.training for m in backbone.module().modules())
    with torch.no_grad():
        x = backbone.image.encode(backbone.image.inputs(photos))
        t = backbone.text.encode(backbone.text.inputs(SENTENCES))
    assert x.shape == t.shape == (3, spec.dim)


@pytest.mark.parametrize("family", ["clip", "metaclip_2", "chinese_clip", "altclip"])
def test_padding_to_the_longest_is_exact(family: str, folders: dict[str, Path]) -> None:
    backbone = load(f"local:{folders[family]}", offline=True)
    ids = backbone.text.inputs(SENTENCES)
    full = torch.nn.functional.pad(ids, (0, backbone.spec.context - ids.shape[1]), value=backbone.spec.pad)
    assert full.shape[1] > ids.shape[1]
    with torch.no_grad():
        assert gap(backbone.text.encode(ids), backbone.text.encode(full)) <= 1e-6


def test_siglip_is_always_padded_to_its_context(folders: dict[str, Path]) -> None:
    backbone = load(f"local:{folders['siglip']}", offline=True)
    ids = backbone.text.inputs(["a cat"])
    assert ids.shape == (1, 64)
    with torch.no_grad():
        assert (
            gap(backbone.text.encode(ids[:, :3]), backbone.text.encode(ids)) > 1e-2
        )  # the trap: unpadded text is another vector


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_towers_cut_what_encode_runs(family: str, folders: dict[str, Path], photos: list[Image.Image]) -> None:
    backbone = load(f"local:{folders[family]}", offline=True)
    with torch.no_grad():
        for encoder, items in ((backbone.image, photos), (backbone.text, SENTENCES)):
            tower, x = backbone.tower(encoder.modality), encoder.inputs(items)
            assert gap(tower.project(tower.pooled(tower.blocks(tower.start(x)))), encoder.encode(x)) <= 1e-5


def test_literal_end_token_in_user_text_does_not_move_the_pooling(folders: dict[str, Path]) -> None:
    backbone = load(f"local:{folders['clip']}", offline=True)
    literal, cut = "a <|endoftext|> photo of a cat", "a"
    (ids,) = backbone.text.inputs([literal]).tolist()
    assert ids.count(CLIP_END) == 1
    with torch.no_grad():
        a, b = backbone.text.encode(backbone.text.inputs([literal])), backbone.text.encode(backbone.text.inputs([cut]))
        assert gap(a, b) > 1e-3
        theirs = AutoTokenizer.from_pretrained(str(folders["clip"]))([literal], return_tensors="pt")
        unescaped = backbone.module().get_text_features(**theirs).pooler_output  # type: ignore[operator]
        assert gap(unescaped, b) <= 1e-6  # the trap: everything behind the literal is lost


def test_too_long_text(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="this model reads 77"):
        load(f"local:{folders['clip']}").text.inputs(["cat " * 90])
    ids = load(f"local:{folders['clip']}", truncate=True).text.inputs(["cat " * 90])
    assert ids.shape == (1, 77)
    assert ids[0, -1] == CLIP_END


def test_half_precision_files_become_float32(clip: Path) -> None:
    save_file(
        {k: v.half() for k, v in load_file(clip / "model.safetensors").items()},
        clip / "model.safetensors",
        {"format": "pt"},
    )
    edit(clip / "config.json", dtype="float16")
    backbone = load(f"local:{clip}")
    assert {p.dtype for p in backbone.module().parameters()} == {torch.float32}


def test_missing_tensors_are_not_drawn_at_random(clip: Path) -> None:
    state = load_file(clip / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, clip / "model.safetensors", {"format": "pt"})
    assert AutoModel.from_pretrained(str(clip)) is not None  # the trap: transformers only reports it
    with pytest.raises(DataError, match=r"tensors 1 missing \(visual_projection.weight\)"):
        load(f"local:{clip}")


def test_tensors_of_another_shape(clip: Path) -> None:
    state = load_file(clip / "model.safetensors")
    state["visual_projection.weight"] = torch.zeros(13, 16)
    save_file(state, clip / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        DataError, match=r"1 of another shape \(visual_projection.weight, \(13, 16\) and not \(12, 16\)\): get both"
    ):
        load(f"local:{clip}")


def test_open_clip_tensors_in_a_transformers_folder(clip: Path) -> None:
    save_file({"visual.conv1.weight": torch.zeros(3)}, clip / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="78 missing"):
        load(f"local:{clip}")


def test_damaged_weights(clip: Path) -> None:
    (clip / "model.safetensors").write_bytes(b"half a download")
    with pytest.raises(DataError, match="is text, not weights"):
        load(f"local:{clip}")


def test_folder_without_weights(clip: Path) -> None:
    (clip / "model.safetensors").unlink()
    with pytest.raises(NotAvailable, match="holds no weights"):
        load(f"local:{clip}")


def test_pickled_weights_only_on_request(clip: Path) -> None:
    safe = load(f"local:{clip}")
    torch.save(load_file(clip / "model.safetensors"), clip / "pytorch_model.bin")
    (clip / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="allow-pickle"):
        load(f"local:{clip}")
    pickled = load(f"local:{clip}", allow_pickle=True)
    with torch.no_grad():
        ids = safe.text.inputs(["a cat"])
        assert gap(pickled.text.encode(ids), safe.text.encode(ids)) <= 1e-6


def test_activation_that_the_configuration_does_not_state_is_demanded(clip: Path) -> None:
    assert load(f"local:{clip}").spec.activation == "quick_gelu"
    edit(clip / "config.json", text_config__hidden_act=None, vision_config__hidden_act=None)
    with pytest.raises(UsageError, match=r"vision_config.hidden_act and text_config.hidden_act.*NAME.activation"):
        load(f"local:{clip}")
    stated = load(f"local:{clip}", stated=Stated(activation="gelu"))
    assert stated.spec.activation == "gelu"
    edit(clip / "config.json", text_config__hidden_act="gelu", vision_config__hidden_act="gelu")
    written = load(f"local:{clip}")
    with torch.no_grad():
        ids = written.text.inputs(["a cat"])
        assert torch.equal(stated.text.encode(ids), written.text.encode(ids))
    with pytest.raises(UsageError, match="differ on the activation"):
        load(f"local:{clip}", stated=Stated(activation="quick_gelu"))


def test_pixels_that_nobody_states_are_demanded(clip: Path) -> None:
    recipe = load(f"local:{clip}").spec.pixels
    with pytest.raises(UsageError, match="pixel recipe"):
        load(f"local:{clip}", stated=Stated(pixels=PixelRecipe(32, (0.5,) * 3, (0.5,) * 3)))
    (clip / "preprocessor_config.json").unlink()
    with pytest.raises(UsageError, match=r"preprocessor_config.json.*NAME.pixels"):
        load(f"local:{clip}")
    assert load(f"local:{clip}", stated=Stated(pixels=recipe)).spec.pixels == recipe


CLIP_PIXELS = {"size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
               "resample": 3, "image_mean": [0.48, 0.45, 0.4], "image_std": [0.26, 0.26, 0.27]}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("shortest", 224, 1.0, "bicubic")),
        ({"size": 224, "crop_size": 224}, ("shortest", 224, 1.0, "bicubic")),
        ({"size": {"shortest_edge": 256}}, ("shortest", 224, 0.875, "bicubic")),
        (
            {"size": {"height": 224, "width": 224}, "do_center_crop": False, "resample": 2},
            ("squash", 224, 1.0, "bilinear"),
        ),
        ({"size": {"height": 224, "width": 224}, "do_center_crop": None}, ("squash", 224, 1.0, "bicubic")),
    ],
)
def test_pixel_recipes_of_every_spelling(changes: dict[str, Any], expected: tuple[Any, ...]) -> None:
    recipe = recipe_of({**CLIP_PIXELS, **changes}, Path("preprocessor_config.json"))
    assert (recipe.resize, recipe.size, recipe.crop, recipe.interpolation) == expected


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"size": {"height": 224, "width": 112}, "do_center_crop": False}, "square"),
        ({"do_center_crop": False}, "without a crop"),
        ({"resample": 0}, "filter 0"),
        ({"do_normalize": False}, "leaves out"),
        ({"rescale_factor": 1 / 127.5}, "leaves out"),
        ({"image_mean": [0.5, 0.5]}, "three channels"),
    ],
)
def test_pixel_recipes_that_cannot_be_kept(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        recipe_of({**CLIP_PIXELS, **changes}, Path("preprocessor_config.json"))
    with pytest.raises(DataError, match="does not state image_mean"):
        recipe_of({k: v for k, v in CLIP_PIXELS.items() if k != "image_mean"}, Path("preprocessor_config.json"))


def test_processor_of_another_model(clip: Path) -> None:
    edit(clip / "preprocessor_config.json", size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    with pytest.raises(DataError, match="makes 64 pixels"):
        load(f"local:{clip}")


def test_tokenizer_of_another_model(folders: dict[str, Path], clip: Path, tmp_path: Path) -> None:
    folder = transformers_folder(tmp_path / "siglip", "siglip")
    clip_tokenizer().save_pretrained(str(folder))
    with pytest.raises(DataError, match="ids beyond the 32"):
        load(f"local:{folder}")
    edit(clip / "config.json", text_config__eos_token_id=7)
    with pytest.raises(DataError, match="pools at token 7"):
        load(f"local:{clip}")


def test_old_configurations_pool_at_the_largest_id_and_added_tokens_break_that(clip: Path) -> None:
    new = load(f"local:{clip}")
    edit(clip / "config.json", text_config__eos_token_id=2)
    old = load(f"local:{clip}")
    assert (new.spec.pooling, old.spec.pooling) == ("eos", "argmax")
    with torch.no_grad():
        ids = new.text.inputs(SENTENCES)
        assert gap(old.text.encode(ids), new.text.encode(ids)) <= 1e-6
    tokenizer = clip_tokenizer()
    tokenizer.add_tokens(["<grown>"])
    tokenizer.save_pretrained(str(clip))
    with pytest.raises(DataError, match="remove added tokens"):
        load(f"local:{clip}")


def test_no_tokenizer(clip: Path) -> None:
    for file in clip.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(NotAvailable, match="holds no tokenizer"):
        load(f"local:{clip}")


@pytest.mark.parametrize(("kind", "hint"), [("siglip2", "NaFlex"), ("bert", "supported are clip"), ("", "'unknown'")])
def test_unsupported_types(kind: str, hint: str, clip: Path) -> None:
    edit(clip / "config.json", model_type=kind)
    with pytest.raises(UsageError, match=hint):
        load(f"local:{clip}")


def test_a_cached_repository(hub_cache: Path, folders: dict[str, Path]) -> None:
    into_hub_cache(hub_cache, "org/clip", folders["clip"])
    a, b = load("hf:org/clip", offline=True), load("hf-hub:org/clip", offline=True)
    assert a.spec.name == "hf:org/clip"
    assert a.fingerprint == b.fingerprint == load(f"local:{folders['clip']}").fingerprint


def test_folder_with_both_formats_side_by_side(hub_cache: Path, clip: Path, openclip_folder: Any) -> None:
    both = openclip_folder("vit")
    for file in clip.iterdir():
        (both / file.name).write_bytes(file.read_bytes())
    assert load(f"local:{both}").spec.family == "openclip"
    into_hub_cache(hub_cache, "org/both", both)
    assert load("hf-hub:org/both", offline=True).spec.family == "openclip"
    assert load("hf:org/both", offline=True).spec.family == "huggingface"
    (both / "open_clip_model.safetensors").unlink()
    assert load(f"local:{both}").spec.family == "huggingface"


def test_both_return_types_of_the_library() -> None:
    class Output:
        pooler_output = torch.ones(1, 2, dtype=torch.float16)

    assert _vectors(Output()).dtype == torch.float32
    assert torch.equal(_vectors(torch.ones(1, 2)), _vectors(Output()))


def test_every_family_is_tried() -> None:
    assert set(FAMILIES) - set(TRIED) == {"align"}  # its EfficientNet has no small random configuration worth a test


def test_clean_text_gives_the_ids_of_both_libraries() -> None:
    import open_clip

    tokens = HubTokens(clip_tokenizer(48894), "clip-bpe")
    assert tokens.ids(["a photo of a cat"]) == open_clip.tokenize(["a photo of a cat"])[:, :7].tolist()


def test_rebuild(folders: dict[str, Path]) -> None:
    backbone = load(f"local:{folders['clip']}")
    module = AutoModel.from_pretrained(str(folders["clip"]))
    same = backbone.rebuild(module, backbone.spec)
    with torch.no_grad():
        module.logit_scale.add_(1)
    assert backbone.rebuild(module, backbone.spec).fingerprint != same.fingerprint
    assert same.spec.weights.startswith("state:")


def test_small_tokenizer_has_siglips_habits(tmp_path: Path) -> None:
    small_tokenizer(tmp_path)
    assert AutoTokenizer.from_pretrained(str(tmp_path))("a cat").input_ids == [4, 8, 1]
