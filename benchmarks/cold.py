"""One process for one answer: what a person waits for the names of a photo, a search, or the doctor."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoders import backbone_of
from benchmarks.heads import write_openclip
from benchmarks.measure import Row, Target
from benchmarks.pictures import pictures

NAMES = ("cat", "dog", "bicycle")
TEMPLATE = "a photo of a {}."
SCRIPT = """
import json, sys
import torch, open_clip
from PIL import Image
model, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + sys.argv[1])
model.eval()
tokenizer = open_clip.get_tokenizer("ViT-B-32")
image = preprocess(Image.open(sys.argv[2])).unsqueeze(0)
text = tokenizer([sys.argv[3].replace("{}", name) for name in sys.argv[4:]])
with torch.no_grad():
    x = model.encode_image(image, normalize=True)
    y = model.encode_text(text, normalize=True)
    print(json.dumps((model.logit_scale.exp() * x @ y.T).softmax(dim=-1)[0].tolist()))
"""
"""open_clip's README example on weights that lie on disk."""


@contextlib.contextmanager
def starts(name: str) -> Iterator[Row]:
    """A new process for one photo and three names: open_clip's script; ours with heads that an earlier process left.

    Args:
        name: of a backbone that open_clip can build, "ViT-B-32" or "tiny".
    """
    backbone: Any = backbone_of(name)
    with tempfile.TemporaryDirectory(prefix="bench-cold-") as work:
        model = write_openclip(backbone.module(), backbone.config, Path(work) / "model")
        photo = Path(work) / "photo.jpg"
        next(pictures(1, (800, 600))).save(photo)
        given = {**os.environ, "DIPTYCH_CACHE": str(Path(work) / "cache"), "HF_HUB_OFFLINE": "1"}

        def shell(*words: str) -> Any:
            done = subprocess.run([sys.executable, *words], env=given, capture_output=True, text=True, check=True)
            return json.loads(done.stdout)

        def ours(name: str) -> Any:
            options = ("--names", ", ".join(NAMES), "--templates", TEMPLATE, "--backbone", name, "--json")
            done = shell("-m", "diptych.cli", "classify", str(photo), *options)
            top = {row["label"]: row["probability"] for row in done["predictions"][0]["labels"]}
            return None if name == "lite" else [top[n] for n in NAMES]

        names = {"diptych, same weights": f"local:{model}", "diptych, lite": "lite"}
        for backbone in names.values():
            ours(backbone)
        base = f"open_clip script, {name}"
        yield Row(
            {base: lambda: shell("-c", SCRIPT, str(model), str(photo), TEMPLATE, *NAMES)}
            | {who: lambda name=name: ours(name) for who, name in names.items()},
            unit="answers",
            same=lambda p: None if p is None else np.log(p) - np.log(p).mean(),
            targets=(
                Target("seconds to the answer of lite", lambda rates: 1 / rates["diptych, lite"], 0.8, least=False),
            ),
            rounds=3,
        )


@contextlib.contextmanager
def commands(photos: int) -> Iterator[Row]:
    """A new process for one search by words in an index of N photos, and one for ``doctor``, after an earlier one.

    Args:
        photos: N.
    """
    with tempfile.TemporaryDirectory(prefix="bench-cold-") as work:
        folder, index = Path(work) / "photos", str(Path(work) / "index")
        folder.mkdir()
        for i, photo in enumerate(pictures(photos, (400, 300))):
            photo.save(folder / f"{i}.jpg")
        given = {**os.environ, "DIPTYCH_CACHE": str(Path(work) / "cache"), "HF_HUB_OFFLINE": "1"}

        def ours(*words: str) -> None:
            command = [sys.executable, "-m", "diptych.cli", *words]
            subprocess.run(command, env=given, capture_output=True, text=True, check=True)

        search = ("search", index, "a red square", "--json")
        for words in (("index", str(folder), "--out", index), search, ("doctor",)):
            ours(*words)
        yield Row(
            {"search": lambda: ours(*search), "doctor": lambda: ours("doctor")},
            unit="answers",
            same=None,
            targets=(
                Target("seconds to the answer of search", lambda rates: 1 / rates["search"], 1.0, least=False),
                Target("seconds to the end of doctor", lambda rates: 1 / rates["doctor"], 3.0, least=False),
            ),
            rounds=3,
        )
