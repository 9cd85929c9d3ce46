from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from tests.support.checkpoints import FAMILIES, openclip_model, small_tokenizer


@pytest.fixture(scope="session")
def openclip_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write each family's random weights once a session."""
    root = tmp_path_factory.mktemp("weights")

    def write(family: str) -> Path:
        path: Path = root / f"{family}.safetensors"
        if not path.exists():
            save_file(openclip_model(FAMILIES[family][0]).state_dict(), path)
        return path

    return write


@pytest.fixture
def openclip_folder(tmp_path: Path, openclip_weights: Callable[[str], Path]) -> Callable[..., Path]:
    """Write a folder that open_clip reads as ``local-dir:``."""

    def write(family: str, name: str = "model", **changes: Any) -> Path:
        config, pixels = FAMILIES[family]
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(openclip_weights(family), folder / "open_clip_model.safetensors")
        facts = {"model_cfg": config, "preprocess_cfg": pixels} | changes
        (folder / "open_clip_config.json").write_text(json.dumps(facts))
        if "hf_tokenizer_name" in config["text_cfg"]:
            small_tokenizer(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Three pictures of different shapes, smooth enough to survive resizing."""
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in ((5, 8), (9, 4), (6, 6))]
    return [Image.fromarray(s).resize((s.shape[1] * 40, s.shape[0] * 40), Image.Resampling.BICUBIC) for s in small]


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache and home folder."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return cache
