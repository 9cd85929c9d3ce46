"""Facts after a backbone's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.backbones.sources.load import load
from diptych.backbones.sources.load_options import LoadOptions, split_name
from diptych.core import DataError, UsageError


def test_a_name_alone_asks_for_nothing() -> None:
    assert split_name("ViT-B-32/openai") == ("ViT-B-32/openai", LoadOptions())


def test_every_fact_is_read(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"size": 64, "mean": 0.5, "std": 0.5, "resize": "squash"}), encoding="utf-8")
    name, asked = split_name(
        f"local:w.safetensors?architecture=ViT-B-32&activation=gelu&pixels={recipe}&override&truncate&allow-pickle"
    )
    assert name == "local:w.safetensors"
    assert (asked.stated.architecture, asked.stated.activation, asked.stated.override) == ("ViT-B-32", "gelu", True)
    assert asked.stated.pixels is not None
    assert asked.stated.pixels.resize == "squash"
    assert asked.truncate
    assert asked.allow_pickle


def test_a_path_with_a_question_mark_that_exists_is_a_path(tmp_path: Path) -> None:
    odd = tmp_path / "what?truncate"
    odd.mkdir()
    assert split_name(f"local:{odd}") == (f"local:{odd}", LoadOptions())
    assert split_name(str(odd)) == (str(odd), LoadOptions())


@pytest.mark.parametrize(
    "query", ["colour=red", "truncate=1", "architecture", "activation=relu", "weights=old", "seed=-1", ""]
)
def test_what_is_unknown_or_incomplete_is_refused(query: str) -> None:
    with pytest.raises(UsageError, match=r"take a value"):
        split_name(f"openclip:RN50?truncate&{query}")


def test_a_pixel_recipe_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json cannot be read as JSON"):
        split_name(f"lite?pixels={tmp_path / 'none.json'}")


def test_load_reads_the_facts(tmp_path: Path) -> None:
    drawn = load("openclip:ViT-S-32-alt?weights=random&seed=3&truncate")
    assert drawn.spec.weights == "random:3"
    assert len(drawn.text.inputs(["word " * 200])[0]) == drawn.spec.context
    with pytest.raises(UsageError, match="Random weights"):
        load("lite?weights=random")
