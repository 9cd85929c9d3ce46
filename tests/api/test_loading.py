from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diptych
from diptych.api.loading import _warn, model_of
from diptych.api.model import Model
from diptych.backbones.engines.engine import Engines
from diptych.backbones.sources.save import save
from diptych.core import Backbone, UsageError
from tests.support.colours import COLOURS, ColourBackbone

RED = np.full((8, 8, 3), COLOURS["red"], np.uint8)


def test_load_takes_plain_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def load(name: str, **more: Any) -> Backbone:
        asked.update(more, name=name)
        return ColourBackbone(name=name)

    monkeypatch.setattr("diptych.backbones.sources.load.load", load)
    _warn.cache_clear()
    with pytest.warns(UserWarning, match=r"ViT-B-32,openai was trained with QuickGELU: .*quickgelu/openai is loaded"):
        diptych.load("ViT-B-32", pretrained="openai")
    model = diptych.load("ViT-B-32", pretrained="openai", precision="fast", truncate=True, weights="random", seed=4)
    assert asked == {"name": "ViT-B-32,openai", "offline": None, "weights": "random", "seed": 4, "device": "cpu",
                     "truncate": True, "allow_pickle": False}  # fmt: skip
    assert (model.run.precision, model.run.cache) == ("bf16", tmp_path / "cache" / "embeddings")
    assert isinstance(model.run.engine, Engines)
    assert diptych.load(cache=False).run.cache is None
    own = diptych.load(cache="own", engine="torch").run
    assert (own.cache, own.engine) == (Path("own/embeddings"), None)
    with pytest.raises(UsageError, match="no device 'toaster'"):
        diptych.load(device="toaster")
    diptych.load(tmp_path / "folder")
    assert asked["name"] == f"local:{tmp_path / 'folder'}"
    with pytest.raises(UsageError, match="loaded by its name, such as 'lite', not a Model"):
        diptych.load(model)  # type: ignore[arg-type]


def test_what_counts_as_a_model(model: Model) -> None:
    assert model_of(model) is model
    assert model_of(None).spec.name == "lite"
    assert model_of("tiny").spec.name == "tiny"
    assert model_of("tiny") is model_of("tiny"), "the last model stays loaded"
    with pytest.raises(UsageError, match="cannot be a int"):
        model_of(3)  # type: ignore[arg-type]


def test_a_model_is_saved_as_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    _warn.cache_clear()
    with pytest.warns(UserWarning, match=r"openclip:RN50.* has random weights: its answers mean nothing"):
        model = diptych.load("openclip:RN50", weights="random", engine="torch", cache=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diptych.load("openclip:RN50?weights=random", engine="torch", cache=False)  # told already
    save(model, tmp_path / "saved")
    assert (tmp_path / "saved" / "open_clip_config.json").is_file()
