from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, CLIPImageProcessorPil

from diptych.backbones.changes.apply import changed
from diptych.backbones.changes.text_positions import stretched
from diptych.backbones.language_space import Adaptor, LanguageSpace
from diptych.backbones.language_text import LanguageText
from diptych.backbones.sources import load as load_module
from diptych.backbones.sources.load import load
from diptych.backbones.sources.openclip_files import from_file
from diptych.backbones.sources.openclip_sources import from_model
from diptych.backbones.sources.save import ADAPTOR, load_parts, save
from diptych.backbones.spec import Stated
from diptych.core import Backbone, DataError, PixelRecipe, Spec, UsageError
from tests.backbones.test_language_space import space
from tests.backbones.test_language_text import words
from tests.support.backbone import SmallBackbone
from tests.support.checkpoints import FAMILIES, SENTENCES, gap, openclip_model, transformers_folder
from tests.support.language import tiny_llama
from tests.support.small_clip import small_clip

Folder = Callable[..., Path]


def vectors(backbone: Backbone, photos: list[Image.Image]) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return backbone.image.encode(backbone.image.inputs(photos)), backbone.text.encode(
            backbone.text.inputs(SENTENCES)
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_open_clip_loads_what_we_save(
    family: str, openclip_folder: Folder, photos: list[Image.Image], tmp_path: Path
) -> None:
    source = load(f"local:{openclip_folder(family)}", offline=True)
    tuned = openclip_model(FAMILIES[family][0], seed=1)
    backbone = source.rebuild(tuned, source.spec)
    assert isinstance(backbone, Backbone)
    folder = tmp_path / "saved"
    save(backbone, folder)
    again = load(f"local:{folder}", offline=True)
    images, texts = vectors(backbone, photos)
    for ours, theirs in zip(vectors(again, photos), (images, texts), strict=True):
        assert gap(ours, theirs) <= 1e-6
    assert (
        replace(again.spec, name="", weights="") == replace(backbone.spec, name="", weights="")
        or "custom" in again.spec.architecture
    )
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}", require_pretrained=True)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    with torch.no_grad():
        assert gap(model.encode_image(torch.stack([transform(p) for p in photos]), normalize=False), images) <= 1e-5
        assert gap(model.encode_text(tokenizer(SENTENCES), normalize=False), texts) <= 1e-5


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_transformers_loads_what_we_save(family: str, photos: list[Image.Image], tmp_path: Path) -> None:
    backbone = load(f"local:{transformers_folder(tmp_path / 'source', family)}")
    folder = tmp_path / "saved"
    save(backbone, folder)
    again = load(f"local:{folder}", offline=True)
    assert replace(again.spec, name=backbone.spec.name, weights=backbone.spec.weights) == backbone.spec
    for ours, theirs in zip(vectors(again, photos), vectors(backbone, photos), strict=True):
        assert gap(ours, theirs) <= 1e-6
    model = AutoModel.from_pretrained(str(folder)).eval()
    if family == "clip":
        pixels = CLIPImageProcessorPil.from_pretrained(str(folder))(photos[1:], return_tensors="pt").pixel_values
        with torch.no_grad():  # the first picture's crop is odd: transformers cuts it one pixel beside
            assert (
                gap(model.get_image_features(pixel_values=pixels).pooler_output, vectors(backbone, photos[1:])[0])
                <= 1e-5
            )


def test_nothing_is_overwritten(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    with pytest.raises(UsageError, match="not empty"):
        save(load(f"local:{folder}"), folder)


def test_what_the_formats_cannot_say(openclip_folder: Folder, tmp_path: Path) -> None:
    backbone = load(f"local:{openclip_folder('vit')}")
    bare = from_model(backbone.module(), backbone.spec)
    with pytest.raises(UsageError, match="model_cfg"):
        save(bare, tmp_path / "a")
    cropped = replace(backbone.spec, pixels=replace(backbone.spec.pixels, crop=0.875))
    with pytest.raises(UsageError, match=r"crop of 0\.875"):
        save(backbone.rebuild(backbone.module(), cropped), tmp_path / "b")
    other = load(f"local:{transformers_folder(tmp_path / 'source', 'clip')}")
    longest = replace(other.spec, pixels=replace(other.spec.pixels, resize="longest"))
    with pytest.raises(UsageError, match="cannot say this pixel recipe"):
        save(other.rebuild(other.module(), longest), tmp_path / "c")
    assert not any((tmp_path / x).exists() for x in "ab")


class Rebuildable(SmallBackbone):
    """The small backbone with ``rebuild``, standing for lite."""

    stated: Spec | None = None

    @property
    def spec(self) -> Spec:
        return self.stated or replace(super().spec, name="lite")

    def rebuild(self, module: nn.Module, spec: Spec) -> Rebuildable:
        made = Rebuildable()
        made.module().load_state_dict(module.state_dict())
        made.stated = spec
        return made


@pytest.fixture
def lite(monkeypatch: pytest.MonkeyPatch) -> Rebuildable:
    monkeypatch.setattr(load_module, "_embedded", lambda name, truncate: Rebuildable())
    return Rebuildable()


def test_other_spaces_come_back_round_their_own_tensors(lite: Rebuildable, tmp_path: Path) -> None:
    with torch.no_grad():
        for parameter in lite.module().parameters():
            parameter.add_(1)
    save(lite, tmp_path / "space")
    name = f"local:{tmp_path / 'space'}"
    again = load(name)
    assert again.spec == replace(lite.spec, name=name), "it is not lite any more: an index must not look for it there"
    save(again, tmp_path / "once more")
    (tmp_path / "space" / "space.json").unlink()
    assert load(f"local:{tmp_path / 'once more'}").fingerprint == again.fingerprint, "the first folder is not needed"
    for a, b in zip(again.module().parameters(), lite.module().parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("space.json", "{}"),
        ("space.json", '{"schema": 2}'),
        ("space.json", '{"schema": 1, "base": "lite"}'),
        ("model.safetensors", "damaged"),
    ],
)
def test_damaged_space_folders(file: str, content: str, lite: Rebuildable, tmp_path: Path) -> None:
    save(lite, tmp_path / "space")
    (tmp_path / "space" / file).write_text(content)
    with pytest.raises(DataError):
        load(f"local:{tmp_path / 'space'}")


def test_vectors_that_changed_since_saving_are_noticed(openclip_folder: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    save(load(f"local:{openclip_folder('vit')}"), folder)
    load(f"local:{folder}")
    config = (folder / "open_clip_config.json").read_text()
    (folder / "open_clip_config.json").write_text(config.replace('"bicubic"', '"bilinear"'))
    with pytest.raises(DataError, match="image vectors"):
        load(f"local:{folder}")
    (folder / "open_clip_config.json").write_text(config.replace('"quick_gelu": false', '"quick_gelu": true'))
    with pytest.raises(DataError, match="vectors"):
        load(f"local:{folder}")
    assert (
        load(f"local:{folder}", stated=Stated(activation="quick_gelu", override=True)).spec.activation == "quick_gelu"
    )


def test_half_precision_passes_the_self_test(openclip_folder: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    save(load(f"local:{openclip_folder('vit')}"), folder)
    path = folder / "open_clip_model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path)
    load(f"local:{folder}")


@pytest.mark.parametrize("family", ["vit-quickgelu", "vit-custom-text"])
def test_a_lengthened_model_is_a_plain_open_clip_folder(family: str, openclip_folder: Folder, tmp_path: Path) -> None:
    source = load(f"local:{openclip_folder(family)}", offline=True)
    longer = changed(source, "text-positions", kept=20, ratio=4)
    save(longer, tmp_path / "long")
    facts = json.loads((tmp_path / "long" / "open_clip_config.json").read_text())
    assert facts["model_cfg"]["text_cfg"]["context_length"] == 248
    again = load(f"local:{tmp_path / 'long'}", offline=True)
    assert (again.spec.context, again.spec.changes) == (248, ())
    text = "a red square on a green field, " * 15
    with torch.no_grad():
        ours = longer.encoders["text"].encode(longer.encoders["text"].inputs([text]))
        torch.testing.assert_close(again.text.encode(again.text.inputs([text])), ours)
        model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'long'}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'long'}")
        torch.testing.assert_close(model.eval().encode_text(tokenizer([text])), ours, rtol=1e-4, atol=1e-5)
    save(changed(again, "text-positions", kept=20, ratio=2), tmp_path / "twice")
    assert load(f"local:{tmp_path / 'twice'}", offline=True).spec.context == 476


def test_weights_with_a_lengthened_table_load_by_the_name_of_their_architecture(tmp_path: Path) -> None:
    model = open_clip.create_model("ViT-S-32-alt")
    model.positional_embedding = nn.Parameter(stretched(model.positional_embedding.detach(), 20, 4))
    save_file(model.state_dict(), tmp_path / "long.safetensors")
    recipe = PixelRecipe(224, (0.5,) * 3, (0.5,) * 3, interpolation="bicubic", resize="shortest")
    stated = Stated(architecture="ViT-S-32-alt", activation="gelu", pixels=recipe)
    found = from_file(tmp_path / "long.safetensors", offline=True, stated=stated)
    assert found.spec.context == 248
    assert found.text.inputs(["many words " * 80]).shape == (1, 162)


def test_all_three_parts_and_others_come_back(tmp_path: Path) -> None:
    base = small_clip(tmp_path / "clip")
    language = LanguageText.of(tiny_llama(20), words(tmp_path / "words"), bidirectional=False, limit=40)
    made = LanguageSpace(base, language, Adaptor(16, base.spec.dim, 1))
    save(made, tmp_path / "model", {"head": torch.nn.Linear(2, 2)})
    again = load(f"local:{tmp_path / 'model'}", offline=True)
    assert isinstance(again, LanguageSpace)
    assert again.spec.name == f"local:{tmp_path / 'model'}"
    assert (again.language.limit, again.language.bidirectional) == (40, False)
    with torch.no_grad():
        one, two = (s.text.encode(s.text.inputs(SENTENCES)) for s in (made, again))
    torch.testing.assert_close(one, two)
    assert set(load_parts(tmp_path / "model")) == {"head"}
    save(again, tmp_path / "twice")
    wrong = Adaptor(16, base.spec.dim + 1, 1)
    from safetensors.torch import save_file

    save_file(wrong.state_dict(), tmp_path / "twice" / ADAPTOR)
    with pytest.raises(DataError, match="does not fit the other parts"):
        load(f"local:{tmp_path / 'twice'}", offline=True)


def test_other_language_models_have_no_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no format on disk"):
        save(space(), tmp_path / "model")
    assert not (tmp_path / "model").exists()
