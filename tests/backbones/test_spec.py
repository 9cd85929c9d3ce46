from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from diptych.backbones.spec import agree, file_hash, fingerprint, recipe_from, state_hash, triple
from diptych.core import DataError, PixelRecipe, Spec, UsageError
from diptych.data.files import read_json

RECIPE = PixelRecipe(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SPEC = Spec("a", "openclip", "ViT", "0", "gelu", "clip-bpe", 77, 0, "argmax", 4, RECIPE)


def test_sources_must_agree_and_the_user_may_override() -> None:
    assert agree("colour", None, {"file": 1}, override=False) == 1
    assert agree("colour", 1, {"file": 1, "table": 1}, override=False) == 1
    assert agree("colour", 2, {}, override=False) == 2
    assert agree("colour", 2, {"file": 1}, override=True) == 2
    with pytest.raises(UsageError, match=r"colour \(file: 1, you: 2\)"):
        agree("colour", 2, {"file": 1}, override=False)
    with pytest.raises(UsageError, match="use the other name"):
        agree("colour", None, {"file": 1, "table": 2}, override=False, remedy="use the other name")


def test_state_hash_sees_values_names_types_and_shapes() -> None:
    torch.manual_seed(0)
    base = nn.Linear(2, 3)
    assert state_hash(base) == state_hash(base)
    seen = {state_hash(base)}
    for changed in (nn.Linear(2, 3), nn.Sequential(base), nn.Linear(2, 3).half(), nn.Linear(3, 2), nn.BatchNorm2d(3)):
        seen.add(state_hash(changed))
    assert len(seen) == 6


def test_file_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_fingerprints() -> None:
    from dataclasses import replace

    image, text = fingerprint("image", SPEC, "0"), fingerprint("text", SPEC, "0")
    assert image != text
    assert fingerprint("image", replace(SPEC, name="b", licence="MIT"), "0") == image
    assert fingerprint("image", replace(SPEC, context=10), "0") == image
    assert fingerprint("text", replace(SPEC, pixels=replace(RECIPE, size=9)), "0") == text
    others = [
        fingerprint("image", SPEC, "1"),
        fingerprint("image", replace(SPEC, activation="quick_gelu"), "0"),
        fingerprint("image", replace(SPEC, pixels=replace(RECIPE, crop=0.9)), "0"),
    ]
    assert len({image, *others}) == 4
    assert fingerprint("text", SPEC, "0", truncate=True) != fingerprint("text", SPEC, "0", truncate=False)


def test_recipes_from_plain_data() -> None:
    assert recipe_from(SPEC.as_dict()["pixels"]) == RECIPE
    assert recipe_from({"size": 8, "mean": 0.5, "std": [0.5, 0.5, 0.5]}) == RECIPE


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"size": 8, "mean": 0.5},
        {"size": 8, "mean": 0.5, "std": 0.5, "colour": 1},
        {"size": 8, "mean": 0.5, "std": 0.5, "resize": "x"},
    ],
)
def test_recipes_that_say_too_little_or_too_much(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="pixel recipe"):
        recipe_from(wrong)


def test_triples() -> None:
    assert triple(0.5) == (0.5, 0.5, 0.5)
    with pytest.raises(DataError, match="three channels"):
        triple([0.5, 0.5])


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff"])
def test_json_that_is_no_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="JSON"):
        read_json(tmp_path / "absent.json")
