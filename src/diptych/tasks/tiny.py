"""How the embedded backbone ``tiny`` was made: scenes with true captions, emoji with names, and photos that Lite0 explains.

    python -m diptych.tasks.tiny photos --data DATA --out PHOTOS     the teacher's answers, once
    python -m diptych.tasks.tiny train --data DATA --photos PHOTOS --out OUT     resumes where it stopped
    python -m diptych.tasks.tiny judge --out OUT                                 probes on scenes that training never drew

Every batch holds pairs of one kind each: composed scenes, and photos whose "caption" is an ImageNet class drawn from Lite0's own
top five. The photos also carry two distillation terms: Lite0's pooled vector and its map, each predicted by a linear layer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.load import load
from diptych.backbones.openclip_sources import build, from_model
from diptych.core.backbone import Backbone, PixelRecipe, Spec
from diptych.core.errors import NotAvailable
from diptych.core.run import Run
from diptych.core.train import Clock, Row
from diptych.data.scenes.captions import article
from diptych.data.scenes.compose import SceneRecipe, hold_out, scene
from diptych.data.scenes.sprites import TEXTURES, SpriteBank, read_emoji
from diptych.methods.pretrain.clip_loss import ClipLoss
from diptych.tasks.scene_probes import HELD_OUT_SHARE, judge
from diptych.train.loop import train
from diptych.train.pair import PairTrainee
from diptych.train.schedule import Fit, Schedule

MODEL: Mapping[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 192, "head_width": 32, "patch_size": 8, "patch_dropout": 0.5},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 3},
}
PIXELS = PixelRecipe(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PHOTO_SETS = {"clothing_small": "train", "grocery_packages": "photos", "exercise_pairs": "frames", "demo_photos": "."}
"""Permissively licensed photos (CC0, MIT, Unlicense, public domain) below the data folder; no label of theirs is read."""
FRAMES = ("{}", "a photo of {}.", "a picture of {}", "an image of {}", "{} on a {background} background")
EMOJI_GROUPS = frozenset({"objects", "travel & places", "animals & nature", "food & drink", "activities", "smileys & emotion"})


@dataclass(frozen=True)
class Photos:
    """Photos with the teacher's answers.

    Args:
        pixels: (N, 64, 64, 3) uint8, squashed.
        pooled: (N, 1280) Lite0's pooled vector.
        map: (N, 1280, 7, 7) Lite0's last map, float16.
        top: (N, 5) int64 ImageNet classes by Lite0's probability.
        share: (N, 5) their probabilities, summing to 1.
    """

    pixels: Tensor
    pooled: Tensor
    map: Tensor
    top: Tensor
    share: Tensor


@dataclass(frozen=True)
class Numbers:
    """The stream 0, 1, 2, ...: what stands under a number is drawn in the workers."""

    position: int = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        number = self.position
        while True:
            yield number, number
            number += 1

    def seek(self, position: int) -> Numbers:
        """Return the stream that starts at ``position``."""
        return Numbers(position)


def recipes(bank: SpriteBank, emoji: SpriteBank) -> tuple[SceneRecipe, ...]:
    """Return the training recipes, drawn with equal chance: one object, two objects, several alike, emoji beside shapes."""
    held = hold_out(bank, HELD_OUT_SHARE, seed=0)
    one = SceneRecipe(bank, held_out=held)
    return (
        one,
        one,
        replace(one, objects=(2,)),
        replace(one, objects=(2,)),
        replace(one, objects=(2, 3, 4), same=0.8),
        SceneRecipe(emoji, objects=(1, 1, 2), held_out=held),
    )


class TinyTrainee(PairTrainee):
    """Contrastive pairs of scenes and photos, with distillation of the photos.

    Args:
        space: the untrained model.
        run: seed and world.
        bank: shapes.
        emoji: shapes and emoji.
        photos: photos with the teacher's answers.
        names: the 1,000 ImageNet class names.
        photo_share: share of photos in a batch.
        distil: weight of each distillation term.
    """

    def __init__(
        self,
        space: Backbone,
        run: Run,
        bank: SpriteBank,
        emoji: SpriteBank,
        photos: Photos,
        names: Sequence[str],
        photo_share: float = 0.125,
        distil: float = 0.5,
    ) -> None:
        super().__init__(space, ClipLoss(), run)
        self.recipes, self.photos, self.names, self.photo_share, self.distil = recipes(bank, emoji), photos, names, photo_share, distil
        width = MODEL["vision_cfg"]["width"]
        with run.seeded("distillation"):
            self.predict = nn.ModuleDict(
                {"map": nn.Linear(width, photos.pooled.shape[1]), "pooled": nn.Linear(width, photos.pooled.shape[1])}
            )
        self._module["predict"] = self.predict

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Draw a scene or a photo with its caption; ``photo`` is the photo's number, or -1."""

        def pick(n: int) -> int:
            return int(torch.randint(n, (), generator=g))

        if float(torch.rand((), generator=g)) < self.photo_share:
            number = pick(len(self.photos.pixels))
            name = self.names[int(self.photos.top[number][int(torch.multinomial(self.photos.share[number], 1, generator=g))])]
            return {
                "image": _pixels(self.photos.pixels[number].numpy()),
                "text": FRAMES[pick(4)].replace("{}", article(name)),
                "photo": number,
            }
        drawn = scene(self.recipes[pick(len(self.recipes))], self.run.seed, int(row.item))
        frame = FRAMES[(0, 0, 0, 1, 2, 3, 4)[pick(7)]]
        text = frame.replace("{background}", drawn.background).replace("{}", drawn.captions["short"])
        return {"image": _pixels(drawn.image), "text": text, "photo": -1}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return inputs of both encoders, and which rows are photos."""
        return {**super().collate(views), "photo": torch.tensor([v["photo"] for v in views])}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the contrastive term and both distillation terms."""
        out = dict(super().losses(batch, phase, clock))
        rows = batch["photo"] >= 0
        if rows.any():
            numbers = batch["photo"][rows].cpu()
            tower = self.space.tower("image")
            state = tower.blocks(tower.start(batch["image"][rows]))
            tokens = tower.norm(state.h)[:, state.prefix :]
            target = F.interpolate(self.photos.map[numbers].float(), size=state.grid, mode="bilinear").flatten(2).transpose(1, 2)
            out["map"] = self.distil * (1 - F.cosine_similarity(self.predict["map"](tokens), target.to(tokens.device), dim=-1)).mean()
            pooled = self.predict["pooled"](tower.pooled(state))
            out["pooled"] = self.distil * (1 - F.cosine_similarity(pooled, self.photos.pooled[numbers].to(pooled.device), dim=-1)).mean()
        return out


def _pixels(image: Any) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def untrained(seed: int) -> Backbone:
    """Return the model before training."""
    spec = Spec("tiny", "openclip", "tiny", "", "gelu", "clip-bpe", 77, 0, "argmax", MODEL["embed_dim"], PIXELS, licence="Apache-2.0")
    return from_model(build(MODEL, seed), spec, config=MODEL)


def banks(data: Path) -> tuple[SpriteBank, SpriteBank]:
    """Return the bank of shapes, and the bank of emoji beside shapes."""
    shapes = SpriteBank(textures=("plain", "plain", *TEXTURES))
    pictures = tuple(p for style in ("google", "twitter") for p in read_emoji(data / "emoji" / "emoji.parquet", style, EMOJI_GROUPS))
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
    lite = load("lite")
    dense, layers = lite.dense(), dict(lite.module().named_modules())
    pixels, pooled, maps, top, share = [], [], [], [], []
    with torch.inference_mode():
        for path in paths:
            image = open_image(path)
            square = image.resize((224, 224), Image.Resampling.BICUBIC)
            last = dense.maps(normalise(_pixels(square)[None], lite.spec.pixels))[-1]
            vector = last.mean((2, 3))
            value, index = layers["image.classifier"](vector).softmax(-1)[0].topk(5)
            pixels.append(torch.from_numpy(np.array(image.resize((64, 64), Image.Resampling.BICUBIC, reducing_gap=3.0))))
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


def make(data: Path, photos: Path, out: Path, fit: Fit, seed: int = 0) -> Backbone:
    """Train tiny, or go on with a training that stopped, and write it to ``out / "tiny"`` in open_clip's format.

    Args:
        data: folder of the development sets (emoji are read).
        photos: file that ``explain_photos`` wrote.
        out: folder of checkpoints, log and result.
        fit: settings of the loop.
        seed: fixes everything.
    """
    from safetensors.torch import load_file, save_file

    run = Run(seed=seed, out=out, workers=1)
    trainee = TinyTrainee(untrained(seed), run, *banks(data), Photos(**load_file(photos)), class_names())
    train(trainee, Numbers(), fit, run, resume=True)
    folder = out / "tiny"
    folder.mkdir(exist_ok=True)
    save_file(
        {k: v.detach().half().contiguous() for k, v in trainee.space.module().state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    config = {**MODEL, "vision_cfg": {k: v for k, v in MODEL["vision_cfg"].items() if k != "patch_dropout"}}
    recipe = {"size": 64, "mean": PIXELS.mean, "std": PIXELS.std, "interpolation": "bicubic", "resize_mode": "shortest", "mode": "RGB"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": recipe}, indent=2) + "\n")
    return trainee.trained()  # type: ignore[return-value]


def main(words: Sequence[str] | None = None) -> None:
    """Run one step of the recipe."""
    parser = argparse.ArgumentParser(
        prog="python -m diptych.tasks.tiny", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("photos", "train", "judge"))
    parser.add_argument("--data", type=Path, help="folder of the development data sets")
    parser.add_argument("--photos", type=Path, help="the teacher's answers, a safetensors file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4500)
    asked = parser.parse_args(words)
    if asked.step == "photos":
        explain_photos(asked.data, asked.out)
    elif asked.step == "train":
        fit = Fit(lr=1e-3, batch=128, steps=asked.steps, schedule=Schedule(warmup=200), decay=0.1, clip=1.0, save_every=200, log_every=5)
        make(asked.data, asked.photos, asked.out, fit)
    else:
        sys.stdout.write(json.dumps(judge(load(f"local:{asked.out / 'tiny'}")), indent=2) + "\n")


if __name__ == "__main__":
    main()
