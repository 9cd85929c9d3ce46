"""How the embedded backbone ``tiny`` was made: scenes with true captions, emoji with names, and photos that Lite0
explains.

python -m recipes.tiny photos --data DATA --out PHOTOS     the teacher's answers, once
python -m recipes.tiny train --data DATA --photos PHOTOS --out OUT     resumes where it stopped
python -m recipes.tiny judge --out OUT [--data DATA]       probes on scenes that training never drew; photo sets
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.backbones.sources.load import load
from diptych.backbones.sources.openclip_config import build
from diptych.backbones.sources.openclip_sources import from_model
from diptych.core import Backbone, NotAvailable, PixelRecipe, Run, Spec
from diptych.data.scenes.sprites import TEXTURES, SpriteBank, read_emoji
from diptych.data.words.classnames import tidy
from diptych.data.words.sentences import article
from diptych.metrics.closed_intervals import wilson
from diptych.tasks.record import now, versions
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule
from recipes.number_stream import Numbers
from recipes.photo_sets import SETS, photos
from recipes.scene_probes import judge
from recipes.tiny_training import MODEL, Photos, TinyTrainee, pixels_of, stages

PIXELS = PixelRecipe(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PHOTO_SETS = {"clothing_small": "train", "grocery_packages": "photos", "exercise_pairs": "frames", "demo_photos": "."}
"""Permissively licensed photos (CC0, MIT, Unlicense, public domain) below the data folder; no label of theirs is read.
"""
EMOJI_GROUPS = frozenset(
    {"objects", "travel & places", "animals & nature", "food & drink", "activities", "smileys & emotion"}
)


def untrained(seed: int) -> Backbone:
    """Return the model before training."""
    spec = Spec(
        "tiny",
        "openclip",
        "tiny",
        "",
        "gelu",
        "clip-bpe",
        77,
        0,
        "argmax",
        MODEL["embed_dim"],
        PIXELS,
        licence="Apache-2.0",
    )
    return from_model(build(MODEL, seed), spec, config=MODEL)


def banks(data: Path) -> tuple[SpriteBank, SpriteBank]:
    """Return the bank of shapes, and the bank of emoji beside shapes."""
    shapes = SpriteBank(textures=("plain", "plain", *TEXTURES))
    pictures = tuple(
        p for style in ("google", "twitter") for p in read_emoji(data / "emoji" / "emoji.parquet", style, EMOJI_GROUPS)
    )
    return shapes, replace(shapes, pictures=pictures, picture_share=0.8)


def explain_photos(data: Path, out: Path) -> None:
    """Write the photos and Lite0's answers to a safetensors file.

    Raises:
        NotAvailable: no photo set lies below ``data``.
    """
    from safetensors.torch import save_file

    from diptych.data.images import open_image
    from diptych.data.pixels import normalise

    paths = [p for name, part in PHOTO_SETS.items() for p in sorted((data / name / part).rglob("*.jpg"))]
    if not paths:
        raise NotAvailable(f"No photos below {data}: give the folder that holds {', '.join(PHOTO_SETS)}.")
    lite = load("lite:2026-11")
    dense, layers = lite.dense(), dict(lite.module().named_modules())
    pixels, pooled, maps, top, share = [], [], [], [], []
    with torch.inference_mode():
        for path in paths:
            image = open_image(path)
            square = image.resize((224, 224), Image.Resampling.BICUBIC)
            last = dense.maps(normalise(pixels_of(square)[None], lite.spec.pixels))[-1]
            vector = last.mean((2, 3))
            value, index = layers["image.classifier"](vector).softmax(-1)[0].topk(5)
            pixels.append(
                torch.from_numpy(np.array(image.resize((64, 64), Image.Resampling.BICUBIC, reducing_gap=3.0)))
            )
            pooled.append(vector[0])
            maps.append(last[0].half())
            top.append(index)
            share.append(value / value.sum())
    tensors = {"pixels": pixels, "pooled": pooled, "map": maps, "top": top, "share": share}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: torch.stack(v).contiguous() for k, v in tensors.items()}, out)


def class_names() -> list[str]:
    """Return the 1,000 ImageNet class names in order: the first WordNet lemma of each."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return [info.index_to_description(i).split(",")[0].lower() for i in range(1000)]


def make(data: Path, answers: Path, out: Path, fit: Fit, seed: int = 0) -> Backbone:
    """Train tiny, or go on with a training that stopped, and write it to ``out / "tiny"`` in open_clip's format.

    Args:
        data: folder of the development sets (emoji are read).
        answers: file that ``explain_photos`` wrote.
        out: folder of checkpoints, log and result.
        fit: settings of the loop.
        seed: fixes everything.
    """
    from safetensors.torch import load_file, save_file

    run = Run(seed=seed, out=out, workers=1)
    trainee = TinyTrainee(untrained(seed), run, fit, stages(*banks(data)), Photos(**load_file(answers)), class_names())
    train(trainee, Numbers(), fit, run, resume=True)
    folder = out / "tiny"
    folder.mkdir(exist_ok=True)
    save_file(
        {k: v.detach().half().contiguous() for k, v in trainee.space.module().state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    recipe = {
        "size": 64,
        "mean": PIXELS.mean,
        "std": PIXELS.std,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "mode": "RGB",
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": MODEL, "preprocess_cfg": recipe}, indent=2) + "\n"
    )
    return trainee.trained()  # type: ignore[return-value]


@torch.inference_mode()
def photographed(backbone: Backbone, data: Path) -> dict[str, dict[str, float]]:
    """Return zero-shot top-1 on the photo sets of ``lite``'s judgement, with one prompt "a photo of a X.".

    Args:
        backbone: any.
        data: folder of the development sets.

    Returns:
        Set -> {"accuracy", "low", "high" (95 % Wilson interval), "chance", "items"}, all fractions but the count.
    """
    out = {}
    for name, part in SETS.items():
        table, classes = photos(data, name, part)
        text = backbone.text.encode(backbone.text.inputs([f"a photo of {article(tidy(c))}." for c in classes]))
        rows = []
        for i in range(0, len(table), 128):
            views = backbone.image.encode(
                backbone.image.inputs([table.items[j] for j in range(i, min(i + 128, len(table)))])
            )
            rows.append((F.normalize(views, dim=-1) @ F.normalize(text, dim=-1).T).argmax(1).numpy())
        hits = int((np.concatenate(rows) == table.labels()).sum())
        low, high = wilson(hits, len(table))
        out[name] = {
            "accuracy": hits / len(table),
            "low": low,
            "high": high,
            "chance": 1 / len(classes),
            "items": len(table),
        }
    return out


def main(words: Sequence[str] | None = None) -> None:
    """Run one step of the recipe."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.tiny", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("photos", "train", "judge"))
    parser.add_argument("--data", type=Path, help="folder of the development data sets")
    parser.add_argument("--photos", type=Path, help="the teacher's answers, a safetensors file")
    parser.add_argument("--out", type=Path, required=True, help="file of the answers, or folder of the training")
    parser.add_argument("--backbone", help="what is judged (default: what --out holds)")
    parser.add_argument("--steps", type=int, default=12000)
    options = parser.parse_args(words)
    if options.step == "photos":
        explain_photos(options.data, options.out)
    elif options.step == "train":
        fit = Fit(
            lr=1e-3,
            batch=64,
            steps=options.steps,
            schedule=Schedule(warmup=200),
            decay=0.1,
            clip=1.0,
            save_every=500,
            log_every=20,
        )
        make(options.data, options.photos, options.out, fit)
    else:
        backbone = load(options.backbone or f"local:{options.out / 'tiny'}")
        command = f"python -m recipes.tiny judge{f' --backbone {options.backbone}' if options.backbone else ''}"
        report = {"scenes": judge(backbone), "photos": photographed(backbone, options.data) if options.data else {}}
        text = json.dumps(
            {**report, "weights": backbone.spec.weights, "command": command, "date": now(), "versions": versions()},
            indent=1,
        )
        path = options.out if options.out.suffix == ".json" else options.out / "tiny.json"
        path.write_text(text + "\n", encoding="utf-8")
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
