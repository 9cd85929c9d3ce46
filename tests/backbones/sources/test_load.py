"""The traps of loading: each is a file or a call that gives plausible, wrong vectors elsewhere, and an error here."""

from __future__ import annotations

import json
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.pretrained import get_pretrained_cfg
from PIL import Image
from safetensors.torch import load_file, save_file

from diptych.backbones import hub
from diptych.backbones.sources import load as load_module
from diptych.backbones.sources.load import load
from diptych.backbones.spec import Stated
from diptych.backbones.weights import layout, read_state
from diptych.core import DataError, NotAvailable, PixelRecipe, UsageError
from diptych.data.scenes.compose import SceneRecipe, scene
from diptych.data.scenes.sprites import SpriteBank
from tests.support.checkpoints import FAMILIES, gap, into_hub_cache, openclip_model, vit

Folder = Callable[..., Path]
RECIPE = PixelRecipe(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Payload:
    """A pickle that writes a file when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.makedirs, (str(self.target),))


# --- folders


def test_folder_without_weights_is_not_a_random_model(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(NotAvailable, match="holds no weights"):
        load(f"local:{folder}")


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder or file"):
        load(f"local:{tmp_path / 'nothing'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither open_clip_config"):
        load(f"local:{tmp_path / 'empty'}")
    (tmp_path / "trained" / "model").mkdir(parents=True)
    (tmp_path / "trained" / "model" / "config.json").touch()
    with pytest.raises(DataError, match=r"neither .*: name .*trained/model\.$"):
        load(f"local:{tmp_path / 'trained'}")
    (tmp_path / "empty" / "model.json").touch()
    with pytest.raises(DataError, match=r"neither .*: a classifier is loaded by diptych\.load_classifier"):
        load(f"local:{tmp_path / 'empty'}")


def test_transformers_weights_in_an_open_clip_folder(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    (folder / "open_clip_model.safetensors").unlink()
    save_file({"vision_model.embeddings.class_embedding": torch.zeros(4)}, folder / "model.safetensors")
    with pytest.raises(DataError, match="transformers weights"):
        load(f"local:{folder}")


def test_weights_of_no_known_format(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    save_file({"encoder.weight": torch.zeros(4)}, folder / "open_clip_model.safetensors")
    with pytest.raises(DataError, match="no CLIP weights"):
        load(f"local:{folder}")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["visual.conv1.weight"], "open_clip"),
        (["visual.trunk.patch_embed.proj.weight"], "open_clip"),
        (["text_model.embeddings.token_embedding.weight", "logit_scale"], "transformers"),
        (["image_encoder.model.patch_emb.0.block.conv.weight"], "mobileclip"),
        (["encoder.weight"], "unknown"),
    ],
)
def test_formats_are_told_apart_by_tensors(names: list[str], expected: str) -> None:
    assert layout(dict.fromkeys(names)) == expected


def test_missing_unexpected_and_misshapen_tensors_are_named(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    state = load_file(folder / "open_clip_model.safetensors")
    del state["visual.ln_post.weight"]
    state["visual.extra"] = torch.zeros(1)
    state["text_projection"] = torch.zeros(16, 13)
    save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(
        DataError,
        match=r"1 missing \(visual.ln_post.weight\); 1 unexpected \(visual.extra\); 1 of another shape "
        r"\(text_projection\)",
    ):
        load(f"local:{folder}")


def test_position_tables_are_not_resampled_in_silence(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = 48
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"visual\.positional_embedding"):
        load(f"local:{folder}")


def test_half_precision_files_become_float32_on_the_cpu(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    half = {k: v.half() for k, v in load_file(folder / "open_clip_model.safetensors").items()}
    save_file(half, folder / "open_clip_model.safetensors")
    backbone = load(f"local:{folder}")
    assert {p.dtype for p in backbone.module().parameters()} == {torch.float32}
    with torch.no_grad():
        assert backbone.text.encode(backbone.text.inputs(["a cat"])).dtype == torch.float32


def test_old_layout_and_distributed_prefix(openclip_folder: Folder) -> None:
    """CLIP-class tensors for a CustomTextCLIP, each with "module.": both are published."""
    folder = openclip_folder("vit-custom-text")
    twin = openclip_folder("vit", "twin")
    state = {f"module.{k}": v for k, v in load_file(twin / "open_clip_model.safetensors").items()}
    save_file(state, folder / "open_clip_model.safetensors")
    a, b = load(f"local:{folder}"), load(f"local:{twin}")
    with torch.no_grad():
        assert gap(a.text.encode(a.text.inputs(["a cat"])), b.text.encode(b.text.inputs(["a cat"]))) <= 1e-6


def test_a_tensor_beside_those_with_the_distributed_prefix_is_named(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    file = folder / "open_clip_model.safetensors"
    wrapped = {f"module.{k}": v for k, v in load_file(file).items()}
    save_file({**wrapped, "n_averaged": torch.ones(())}, file)
    with pytest.raises(DataError, match=r"tensors 1 unexpected \(n_averaged\)"):
        load(f"local:{folder}")
    save_file({**wrapped, "logit_scale": torch.ones(())}, file)  # two of one name stay two
    with pytest.raises(DataError, match="holds no CLIP weights that are known here"):
        load(f"local:{folder}")


@pytest.mark.parametrize("silent", [{}, {"size": 32}, {"mean": [0.5] * 3}])
def test_pixels_that_the_folder_does_not_state_are_demanded(silent: dict[str, Any], openclip_folder: Folder) -> None:
    folder = openclip_folder("vit", preprocess_cfg=silent)
    with pytest.raises(UsageError, match="does not state the mean and std"):
        load(f"local:{folder}")
    assert load(f"local:{folder}", stated=Stated(pixels=PixelRecipe(32, (0.5,) * 3, (0.5,) * 3))).spec.pixels.mean == (
        0.5,
        0.5,
        0.5,
    )


@pytest.mark.parametrize("text", ["not json", "[]", "{}", '{"model_cfg": {"embed_dim": 3}}'])
def test_damaged_configuration(text: str, openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    (folder / "open_clip_config.json").write_text(text)
    with pytest.raises(DataError, match="open_clip_config"):
        load(f"local:{folder}")


def test_configuration_that_open_clip_cannot_build(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit", model_cfg={**vit(), "no_such_setting": 1})
    with pytest.raises(DataError, match="no_such_setting"):
        load(f"local:{folder}")


# --- activation


def test_quickgelu_by_name_contradicts_a_gelu_configuration(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit", "ViT-B-32-quickgelu")
    with pytest.raises(UsageError, match=r"activation \(open_clip_config.json: gelu, the folder's name: quick_gelu\)"):
        load(f"local:{folder}")
    for activation in ("gelu", "quick_gelu"):
        assert (
            load(f"local:{folder}", stated=Stated(activation=activation, override=True)).spec.activation == activation
        )
    assert load(f"local:{openclip_folder('vit-quickgelu', 'my-openai')}").spec.activation == "quick_gelu"


def test_the_wrong_activation_gives_plausible_vectors(openclip_folder: Folder) -> None:
    """Why it is an error: nothing in the vectors shows it."""
    folder = openclip_folder("vit")
    right, wrong = (load(f"local:{folder}", stated=Stated(activation=a, override=True)) for a in ("gelu", "quick_gelu"))
    with torch.no_grad():
        x, y = (b.text.encode(b.text.inputs(["a photo of a cat"])) for b in (right, wrong))
    assert torch.cosine_similarity(x, y).item() > 0.99
    assert gap(x, y) > 1e-4


def test_openai_weights_under_the_gelu_name_are_refused_where_gelu_is_insisted_on() -> None:
    with pytest.raises(UsageError, match="differ on the activation"):
        load("ViT-B-32,openai?activation=gelu", offline=True)
    with pytest.raises(NotAvailable):
        load("ViT-B-32,openai", offline=True)


def test_random_weights_are_named_as_such_and_the_name_loads_them_again() -> None:
    backbone = load("openclip:RN50?weights=random&seed=2")
    assert backbone.spec.name == "openclip:RN50?weights=random&seed=2"
    assert load(backbone.spec.name).fingerprint == backbone.fingerprint


def test_a_statement_that_contradicts_the_source(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    with pytest.raises(UsageError, match="you: quick_gelu"):
        load(f"local:{folder}", stated=Stated(activation="quick_gelu"))
    with pytest.raises(UsageError, match="pixel recipe"):
        load(f"local:{folder}", stated=Stated(pixels=RECIPE))
    with pytest.raises(UsageError, match="architecture"):
        load(f"local:{folder}", stated=Stated(architecture="ViT-B-32"))
    assert load(f"local:{folder}", stated=Stated(activation="gelu")).spec.activation == "gelu"


# --- bare files


def test_a_bare_file_states_nothing(openclip_folder: Folder) -> None:
    path = openclip_folder("vit") / "open_clip_model.safetensors"
    with pytest.raises(
        UsageError,
        match=r"architecture, activation, pixel recipe: give .*NAME.architecture.*NAME.activation.*NAME.pixels",
    ):
        load(str(path))
    with pytest.raises(UsageError, match=r"its activation, pixel recipe: give"):
        load(f"ViT-B-32,{path}")
    with pytest.raises(UsageError, match="no folder or file"):
        load(f"{path}.pt")


def test_a_bare_file_with_everything_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: vit() if name == "ViT-B-32" else None)
    path = tmp_path / "weights.safetensors"
    model = openclip_model(vit())
    save_file(model.state_dict(), path)
    backbone = load(
        f"ViT-B-32,{path}", stated=Stated(activation="gelu", pixels=PixelRecipe(32, (0.5,) * 3, (0.5,) * 3))
    )
    assert (backbone.spec.architecture, backbone.spec.name) == ("ViT-B-32", f"local:{path}")
    with torch.no_grad():
        expected = model.eval().encode_text(open_clip.tokenize(["a cat"]))  # type: ignore[operator]
        assert gap(backbone.text.encode(backbone.text.inputs(["a cat"])), expected) <= 1e-5
    with pytest.raises(UsageError, match="knows no architecture"):
        load(str(path), stated=Stated("ViT-Z-99", "gelu", RECIPE))
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: vit())
    with pytest.raises(UsageError, match="differ on the activation"):
        load(str(path), stated=Stated("ViT-B-32-quickgelu", "gelu", RECIPE))


def test_damaged_weight_files(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="damaged"):
        load(f"local:{folder}")
    path.unlink()
    for content in (b"", b"PK\x03\x04 no archive", b"<html>"):
        (folder / "open_clip_pytorch_model.bin").write_bytes(content)
        with pytest.raises((DataError, UsageError)):
            load(f"local:{folder}")


def test_big_vision_arrays_are_pointed_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"")
    with pytest.raises(UsageError, match="ViT-B-16-SigLIP/webli"):
        read_state(tmp_path / "a.npz")


# --- pickles


def test_safetensors_are_preferred_and_plain_torch_files_read_without_pickle(openclip_folder: Folder) -> None:
    folder = openclip_folder("vit")
    state = load_file(folder / "open_clip_model.safetensors")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"never read")
    a = load(f"local:{folder}")
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": state, "epoch": 3}, folder / "open_clip_pytorch_model.bin")
    b = load(f"local:{folder}")
    with torch.no_grad():
        assert torch.equal(a.text.encode(a.text.inputs(["a cat"])), b.text.encode(b.text.inputs(["a cat"])))


@pytest.mark.parametrize("as_archive", [True, False])
def test_pickles_that_run_code_are_refused(as_archive: bool, openclip_folder: Folder, tmp_path: Path) -> None:
    folder = openclip_folder("vit")
    target = tmp_path / "written"
    state = {"state_dict": load_file(folder / "open_clip_model.safetensors"), "extra": Payload(target)}
    (folder / "open_clip_model.safetensors").unlink()
    path = folder / "open_clip_pytorch_model.bin"
    if as_archive:
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises((UsageError, DataError)):
        load(f"local:{folder}")
    assert not target.exists()


def test_pickles_on_request(openclip_folder: Folder, tmp_path: Path) -> None:
    folder = openclip_folder("vit")
    state = {"state_dict": load_file(folder / "open_clip_model.safetensors"), "extra": Payload(tmp_path / "written")}
    (folder / "open_clip_model.safetensors").unlink()
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(UsageError, match="allow-pickle"):
        load(f"local:{folder}")
    assert load(f"local:{folder}", allow_pickle=True).spec.dim == 12


def test_torchscript_archives_are_refused_unless_asked_for(tmp_path: Path) -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = torch.nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.visual(x)

    path = tmp_path / "ViT-B-32.pt"
    torch.jit.script(Two()).save(str(path))
    with pytest.raises(UsageError, match="TorchScript"):
        read_state(path)
    assert set(read_state(path, allow_pickle=True)) == {"visual.weight", "visual.bias"}


# --- offline


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record every attempt to open a socket or resolve a name."""
    attempts: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        attempts.append(repr(arguments))
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return attempts


@pytest.mark.parametrize(
    "name",
    [
        "ViT-B-32/laion2b_s34b_b79k",
        "ViT-B/32",
        "ViT-B-16-SigLIP/webli",
        "xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k",
        "hf:openai/clip-vit-base-patch32",
        "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    ],
)
@pytest.mark.parametrize("way", ["argument", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_names_what_is_missing_and_never_asks_the_network(
    name: str, way: str, hub_cache: Path, no_network: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "argument":
        monkeypatch.setenv(way, "1")
    with pytest.raises(NotAvailable) as caught:
        load(name, offline=True if way == "argument" else None)
    assert caught.value.exit_code == 4
    assert str(hub_cache) in str(caught.value)
    assert no_network == []


def test_online_without_network_is_not_available_too(hub_cache: Path, no_network: list[str]) -> None:
    with pytest.raises(NotAvailable, match="could not be fetched"):
        load("hf:openai/clip-vit-base-patch32", offline=False)
    assert no_network


def test_an_explicit_no_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.is_offline()
    assert not hub.is_offline(False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert not hub.is_offline()


def test_cached_published_weights_load_offline(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: vit())
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(openclip_model(vit()).state_dict(), folder / "open_clip_model.safetensors")
    repository = get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")["hf_hub"].rstrip("/")
    into_hub_cache(hub_cache, repository, folder)
    backbone = load("ViT-B-32/laion2b_s34b_b79k", offline=True)
    assert backbone.spec.name == "openclip:ViT-B-32/laion2b_s34b_b79k"
    assert len(backbone.spec.weights) == 64
    assert no_network == []


def test_openai_downloads_are_found_beside_the_hub_and_checked(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = get_pretrained_cfg("ViT-B-32-quickgelu", "openai")
    path = Path("~/.cache/clip/ViT-B-32.pt").expanduser()
    with pytest.raises(NotAvailable, match=r"ViT-B-32\.pt"):
        hub.published_weights(published, offline=True)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a download")
    with pytest.raises(DataError, match="SHA-256 differs"):
        hub.published_weights(published, offline=True)


@pytest.mark.parametrize("scheme", ["hf-hub", "hf"])
def test_a_cached_repository_in_open_clips_format(
    scheme: str, hub_cache: Path, openclip_folder: Folder, no_network: list[str]
) -> None:
    into_hub_cache(hub_cache, "org/name", openclip_folder("siglip"))
    backbone = load(f"{scheme}:org/name", offline=True)
    assert backbone.spec.name == f"{scheme}:org/name"
    assert backbone.text.inputs(["a cat"]).shape == (1, 64)
    assert no_network == []


def test_a_text_tower_of_transformers_finds_its_configuration_in_the_folder(
    tmp_path: Path, hub_cache: Path, no_network: list[str]
) -> None:
    from tests.support.checkpoints import small_tokenizer

    folder = tmp_path / "roberta"
    folder.mkdir()
    small_tokenizer(folder, end="</s>", end_id=1, pad_id=0)
    tower = {"model_type": "roberta", "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 80,
             "pad_token_id": 0}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(tower))
    text = {"hf_model_name": str(folder), "hf_tokenizer_name": "roberta-base", "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler", "hf_model_pretrained": False}  # fmt: skip
    config = {**vit(custom_text=True), "text_cfg": text}
    model = openclip_model(config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config["text_cfg"] = {**text, "hf_model_name": "roberta-base"}  # as published: a name on the hub
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": FAMILIES["vit"][1]})
    )
    backbone = load(f"local:{folder}", offline=True)
    ids = backbone.text.inputs(["a photo of a cat"])
    with torch.no_grad():
        assert gap(backbone.text.encode(ids), model.eval().encode_text(ids)) <= 1e-5  # type: ignore[operator]
    assert no_network == []


# --- the door


def test_weights_are_required_unless_random_ones_are_asked_for() -> None:
    with pytest.raises(UsageError, match="names no weights: add a tag, such as ViT-B-32/laion"):
        load("openclip:ViT-B-32")
    for name in ("lite", "hf:org/name"):
        with pytest.raises(UsageError, match="Random weights"):
            load(name, weights="random")


def test_a_configuration_of_ones_own_is_built_with_random_weights(tmp_path: Path) -> None:
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "small.json").write_text(json.dumps(config))
    (tmp_path / "folder").mkdir()
    own = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (tmp_path / "folder" / "open_clip_config.json").write_text(json.dumps(own))
    plain, named = (
        load(f"local:{tmp_path}/small.json?weights=random&seed=2"),
        load(f"local:{tmp_path}/folder", weights="random", seed=2),
    )
    assert plain.spec.name == f"local:{tmp_path}/small.json?weights=random&seed=2"
    assert (plain.spec.dim, plain.spec.pixels.size, named.spec.pixels.mean) == (16, 32, (0.5, 0.5, 0.5))
    states = [b.module().state_dict() for b in (plain, named, load(plain.spec.name.replace("seed=2", "seed=3")))]
    assert all(torch.equal(t, states[1][n]) for n, t in states[0].items())
    assert not all(torch.equal(t, states[2][n]) for n, t in states[0].items())
    (tmp_path / "small.json").write_text('{"embed_dim": 16}')
    with pytest.raises(DataError, match="has no embed_dim, vision_cfg and text_cfg: write it as in open_clip"):
        load(f"local:{tmp_path}/small.json", weights="random")
    with pytest.raises(UsageError, match="There is no configuration"):
        load("local:/models/mine", weights="random")


def test_tiny_says_when_it_is_not_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(load_module, "__file__", str(tmp_path / "backbones" / "sources" / "load.py"))
    with pytest.raises(NotAvailable, match="use lite"):
        load("tiny")


def test_tiny_ships_trained_and_is_an_ordinary_openclip_model() -> None:
    tiny = load("tiny")
    assert (tiny.spec.dim, tiny.spec.pixels.size, tiny.spec.licence) == (128, 64, "Apache-2.0")
    assert tiny.tower("image").depth == 4
    picture = Image.fromarray(scene(SceneRecipe(SpriteBank(("star", "circle"), ("red", "blue"))), 7, 0).image)
    thing = scene(SceneRecipe(SpriteBank(("star", "circle"), ("red", "blue"))), 7, 0).objects[0]
    names = [f"{colour} {shape}" for colour in ("red", "blue") for shape in ("star", "circle")]
    with torch.no_grad():
        text = torch.nn.functional.normalize(
            tiny.text.encode(tiny.text.inputs([f"a photo of a {n}." for n in names])), dim=-1
        )
        image = torch.nn.functional.normalize(tiny.image.encode(tiny.image.inputs([picture])), dim=-1)
    assert names[int((image @ text.T).argmax())] == f"{thing.colour} {thing.noun}"
