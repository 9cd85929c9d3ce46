"""A small random CLIP on disk, opened by the library's own loader."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from diptych.backbones.sources.load import load
from diptych.core import Backbone
from tests.support.checkpoints import FAMILIES, openclip_model, small_tokenizer
from tests.train.test_pair import COLOURS, squares


def small_clip(folder: Path, family: str = "vit") -> Backbone:
    """Return a backbone of an open_clip family; "vit" reads 32 x 32 pixels in patches of 16."""
    config, pixels = FAMILIES[family]
    folder.mkdir(parents=True)
    save_file(openclip_model(config).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": pixels}))
    if "hf_tokenizer_name" in config["text_cfg"]:
        small_tokenizer(folder)
    return load(f"local:{folder}")


def training_folder(root: Path, photos: int, train: int) -> Path:
    """Write a small CLIP to ``clip``, class folders ``data`` with train and test, and pairs.csv with two captions each,
    without splits.
    """
    small_clip(root / "clip")
    items, names, lines = squares(photos).items, list(COLOURS), ["path,caption_0,caption_1"]
    for i in range(photos):
        name = names[i % 5]
        file = root / "data" / ("train" if i < train else "test") / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        items[i].save(file)
        lines.append(f"{file.relative_to(root)},a {name} square,{name}")
    (root / "pairs.csv").write_text("\n".join(lines))
    return root
