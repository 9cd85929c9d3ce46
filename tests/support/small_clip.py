"""A small random CLIP on disk, opened by the library's own loader."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from diptych.backbones.sources.load import load
from diptych.core import Backbone
from tests.support.checkpoints import FAMILIES, openclip_model, small_tokenizer


def small_clip(folder: Path, family: str = "vit") -> Backbone:
    """Return a backbone of an open_clip family; "vit" reads 32 x 32 pixels in patches of 16."""
    config, pixels = FAMILIES[family]
    folder.mkdir(parents=True)
    save_file(openclip_model(config).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": pixels}))
    if "hf_tokenizer_name" in config["text_cfg"]:
        small_tokenizer(folder)
    return load(f"local:{folder}")
