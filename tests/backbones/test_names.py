from __future__ import annotations

import sys
from pathlib import Path

import pytest

from diptych.backbones.names import activation_remark, nearest, parse, published, reads_as_name
from diptych.core import UsageError


@pytest.mark.parametrize(
    "spelling",
    [
        "ViT-B-32/laion2b_s34b_b79k",
        "ViT-B-32,laion2b_s34b_b79k",
        "ViT-B-32::laion2b_s34b_b79k",
        "openclip:ViT-B-32/laion2b_s34b_b79k",
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
        "openclip:ViT-B-32::laion2b_s34b_b79k",
        "ViT-B/32,laion2b_s34b_b79k",
        "ViT-B/32/laion2b_s34b_b79k",
        "ViT-B-32/laion2b-s34b-b79k",
        " ViT-B-32/laion2b_s34b_b79k ",
    ],
)
def test_every_spelling_of_a_pair_has_one_canonical_form(spelling: str) -> None:
    assert parse(spelling).canonical == "openclip:ViT-B-32/laion2b_s34b_b79k"


@pytest.mark.parametrize(
    ("bare", "canonical"),
    [
        ("ViT-B/32", "openclip:ViT-B-32-quickgelu/openai"),
        ("ViT-L/14@336px", "openclip:ViT-L-14-336-quickgelu/openai"),
        ("RN50", "openclip:RN50-quickgelu/openai"),
        ("ViT-B-32/openai", "openclip:ViT-B-32-quickgelu/openai"),
        ("ViT-B-16,dfn2b", "openclip:ViT-B-16-quickgelu/dfn2b"),
        ("ViT-B-32", "openclip:ViT-B-32"),
        ("openclip:RN50", "openclip:RN50"),
        ("lite", "lite"),
        ("lite:views", "lite:views"),
        ("tiny", "tiny"),
        ("hf:openai/clip-vit-base-patch32", "hf:openai/clip-vit-base-patch32"),
        ("hf_clip:org/name", "hf:org/name"),
        ("hf-hub:laion/CLIP-ViT-B-32@main", "hf-hub:laion/CLIP-ViT-B-32@main"),
        ("local:/models/mine", "local:/models/mine"),
        ("local-dir:/models/mine", "local:/models/mine"),
        ("/models/mine.safetensors", "local:/models/mine.safetensors"),
    ],
)
def test_other_schemes(bare: str, canonical: str) -> None:
    assert parse(bare).canonical == canonical
    assert parse(canonical).canonical == canonical


def test_all_published_names_survive() -> None:
    import open_clip

    for architecture, tag in open_clip.list_pretrained():
        name = parse(f"openclip:{architecture}/{tag}")
        assert (name.architecture.removesuffix("-quickgelu"), name.tag) == (
            architecture.removesuffix("-quickgelu"),
            tag,
        )
        assert parse(name.canonical) == name
        assert parse(f"{architecture},{tag}") == name


def test_all_published_names_but_one_have_the_activation_of_their_weights() -> None:
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    differ = []
    for architecture, tag in open_clip.list_pretrained():
        name = parse(f"{architecture}/{tag}")
        config = open_clip.get_model_config(name.architecture)
        if bool(config.get("quick_gelu")) != bool(get_pretrained_cfg(architecture, tag).get("quick_gelu")):
            differ.append(f"{architecture}/{tag}")
    assert differ == ["roberta-ViT-B-32/laion2b_s12b_b32k"]


def test_openai_spellings_exist_in_open_clip() -> None:
    import open_clip

    from diptych.backbones.names import OPENAI

    for spelling in OPENAI:
        name = parse(spelling)
        assert (name.architecture, name.tag) in open_clip.list_pretrained()
        assert open_clip.get_model_config(name.architecture)["quick_gelu"] is True


def test_architecture_with_a_weight_file_keeps_both() -> None:
    name = parse("ViT-B-32,/models/epoch_3.pt")
    assert (name.kind, name.architecture, name.path) == ("local", "ViT-B-32", Path("/models/epoch_3.pt"))


def test_existing_folder_is_a_path_unless_it_is_a_known_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "ViT-B-32").mkdir()
    assert parse("mine").path == tmp_path / "mine"
    assert parse("./mine").path == tmp_path / "mine"
    assert parse("ViT-B-32").kind == "openclip"


@pytest.mark.parametrize(
    "wrong",
    ["ViT-B-33/laion2b_s34b_b79k", "ViT-B-32/laion2b_s34b_b97k", "openclip:nothing", "vit-b-32-qickgelu,openai"],
)
def test_unknown_names_list_the_three_nearest(wrong: str) -> None:
    with pytest.raises(UsageError, match="nearest names are") as caught:
        parse(wrong)
    import open_clip

    listed = str(caught.value).split("nearest names are ")[1].split(";")[0].rstrip(".").split(", ")
    assert len(listed) == 3
    assert all(tuple(n.split("/")) in open_clip.list_pretrained() for n in listed)


def test_a_typo_of_one_letter_is_found() -> None:
    assert nearest("ViT-B-32/laion2b_s34b_b97k")[0] == "ViT-B-32/laion2b_s34b_b79k"


def test_a_typo_of_an_embedded_name_is_found() -> None:
    for wrong in ("lit", "Lite", "light"):
        with pytest.raises(UsageError, match="nearest names are lite, "):
            parse(wrong)


def test_quickgelu_twin_that_was_never_trained_is_unknown() -> None:
    with pytest.raises(UsageError, match="ViT-B-32/laion2b_s34b_b79k"):
        parse("ViT-B-32-quickgelu/laion2b_s34b_b79k")


@pytest.mark.parametrize("wrong", ["", "  ", "hf:", "local:", "hf:no-organisation", "hf:../escape", "hf-hub:a/b/c"])
def test_names_that_name_nothing(wrong: str) -> None:
    with pytest.raises(UsageError):
        parse(wrong)


def test_a_plain_hub_name_is_not_guessed_but_hinted() -> None:
    with pytest.raises(UsageError, match="hf:openai/clip-vit-base-patch32"):
        parse("openai/clip-vit-base-patch32")


def test_names_that_the_loader_refuses_are_not_offered() -> None:
    names = published()
    assert "ViT-B-32/openai" not in names  # its weights want QuickGELU
    assert "ViT-B-32-quickgelu/openai" in names
    assert "ViT-L-14/openai" not in nearest("ViT-L-14", 9)


def test_a_name_that_hides_quickgelu_gets_a_remark_and_all_others_none() -> None:
    assert activation_remark("ViT-B/32") == (
        "ViT-B/32 was trained with QuickGELU: openclip:ViT-B-32-quickgelu/openai is loaded."
    )
    for name in ("lite", "ViT-B-32/laion2b_s34b_b79k", "ViT-B-32-quickgelu/openai", "local:somewhere", "hf:org/name"):
        assert activation_remark(name) == ""


def test_published_names_read_as_names_and_paths_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)  # which takes seconds to load
    for text in ("lite", "ViT-B-32", "ViT-B/16", "ViT-L-14-336/openai", "hf:org/name", "local:weights", "RN50,openai"):
        assert reads_as_name(text), text
    for text in ("vectors", "out/tiny", "tiny/", "s3://bucket/vectors", "lance:folder", "C:/vectors", "ViT photos"):
        assert not reads_as_name(text), text
