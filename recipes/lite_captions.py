"""``lite`` for sentences: a fourth panel, learnt in closed form from photos with captions.

python -m recipes.lite_captions fit CAPTIONS --out FOLDER        a model for --backbone local:FOLDER, in a minute
python -m recipes.lite_captions judge --data DATA --out results/lite-captions.json

    B  = argmin over B of  sum over photos i of |(x_i - m) B - y_i P|^2  +  a |B|^2
    P  = (C + b tr(C) / 384 I)^(-1/2)
    A  = B V,   Q = P V            V: the k leading right singular vectors of the predictions (x_i - m) B

x_i: (1280,) unit pooled vector of a photo, by Lite0;  m: their mean
y_i: (384,) mean of the unit MiniLM vectors of the photo's captions, less the mean of all;  C: covariance of captions
a: ridge times the mean squared length of x_i - m;  b: shrinkage;  A, Q: the panel's maps of photos and of texts

This is a reduced-rank regression (Izenman 1975) onto whitened captions. A photo is compared with a sentence by the
cosine of x A and y Q, beside the three panels that ``lite`` has. ImageNet has no classes for people, actions and
places, so the other panels know next to nothing of them.

CAPTIONS is a table of photos and captions, as ``diptych finetune`` reads it. No weights that ship are made so, since
the photos at hand have no licence that allows it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.changes.apply import changed
from diptych.backbones.lite import Lite, load_lite
from diptych.backbones.lite_parts import LiteModule
from diptych.backbones.sources.save import save
from diptych.core import ClassNames, Run, Table
from diptych.data.load import open_data
from diptych.data.words.classnames import tidy
from diptych.data.words.templates import ENSEMBLE
from diptych.metrics.interval import paired_bootstrap
from diptych.tasks.record import now, versions
from recipes.lite_tower_judge import LARGE_ROWS
from recipes.photo_sets import photos

WIDTH, RIDGE, SHRINKAGE = 32, 1.0, 1.0
"""k, and factors of a and b. Chosen by R@10 in four folds of the 540 train photos of flickr8k_small, as the weights are
by the names of 300 train photos each of caltech40, cifar10_small and clothing_small too: docs/decisions.
"""
WEIGHTS: Mapping[str, float] = {"names": 0.1, "sentences": 0.5}
"""Weight of the panel: one that loses nothing on class names, and one for search by sentences."""
SIZES, DRAWS = (50, 100, 200, 540), 5
SETS: Mapping[str, str] = {"flickr8k_small": "val", "coco_mini": "test"}
"""Photos with captions that are judged, and their split; the maps are learnt from the train split of the first."""


@dataclass(frozen=True)
class Captioned:
    """Pooled vectors of photos and of their captions.

    Args:
        photos: (N, 1280).
        texts: (T, 384).
        owner: (T,) photo of each caption.
    """

    photos: Tensor
    texts: Tensor
    owner: Tensor

    def of(self, chosen: Tensor) -> Captioned:
        """Return some of the photos, with their captions."""
        place = torch.full((len(self.photos),), -1)
        place[chosen] = torch.arange(len(chosen))
        kept = place[self.owner] >= 0
        return Captioned(self.photos[chosen], self.texts[kept], place[self.owner][kept])


@dataclass(frozen=True)
class Maps:
    """What a caption panel holds: means (1280,) and (384,), matrices (1280, k) and (384, k)."""

    image_mean: Tensor
    image: Tensor
    text_mean: Tensor
    text: Tensor


def learn(data: Captioned, width: int = WIDTH, ridge: float = RIDGE, shrinkage: float = SHRINKAGE) -> Maps:
    """Return the maps of the module's equations.

    Example:
        Two photos that differ along one axis, with captions that differ along another:

        >>> axes = torch.eye(3)
        >>> maps = learn(Captioned(axes[:2], axes[[2, 0]], torch.tensor([0, 1])), width=1)
        >>> photos, texts = (axes[:2] - maps.image_mean) @ maps.image, (axes[[2, 0]] - maps.text_mean) @ maps.text
        >>> (photos * texts > 0).all().item()
        True
    """
    x, t = normalize(data.photos, dim=1).double(), normalize(data.texts, dim=1).double()
    image_mean, text_mean = x.mean(0), t.mean(0)
    x, t = x - image_mean, t - text_mean
    covariance = t.T @ t / len(t)
    values, vectors = torch.linalg.eigh(
        covariance + shrinkage * covariance.diagonal().mean() * torch.eye(len(covariance))
    )
    whiten = (vectors / values.sqrt()) @ vectors.T
    count = torch.bincount(data.owner, minlength=len(x))[:, None]
    y = torch.zeros(len(x), t.shape[1], dtype=t.dtype).index_add_(0, data.owner, t) / count.clamp(min=1)
    gram = x @ x.T
    b = x.T @ torch.linalg.solve(gram + ridge * gram.diagonal().mean() * torch.eye(len(gram)), y @ whiten)
    leading = torch.linalg.svd(x @ b, full_matrices=False).Vh[:width].T
    return Maps(*(m.float() for m in (image_mean, b @ leading, text_mean, whiten @ leading)))


def with_panel(model: Lite, maps: Maps, weight: float) -> Lite:
    """Return the model with a caption panel of these maps."""
    wide = changed(model, "caption-panel", width=maps.image.shape[1], weight=weight)
    module: Any = wide.module()
    for head, mean, matrix in (
        (module.image_head, maps.image_mean, maps.image),
        (module.text_head, maps.text_mean, maps.text),
    ):
        head.mean.copy_(mean)
        head.matrix.copy_(matrix)
    tuned = wide.rebuild(module, wide.spec)  # the fingerprint follows the maps
    assert isinstance(tuned, Lite)
    return tuned


@torch.inference_mode()
def pooled_photos(model: Lite, items: Any, kept: Sequence[int], batch: int = 32) -> Tensor:
    """Return the (N, 1280) pooled vectors of photos."""
    module = model.module()
    batches = ([items[j] for j in kept[i : i + batch]] for i in range(0, len(kept), batch))
    return torch.cat([module.image(model.image.inputs(photos)) for photos in batches])


@torch.inference_mode()
def pooled_texts(model: Lite, texts: Sequence[str], batch: int = 64) -> Tensor:
    """Return the (T, 384) pooled vectors of texts."""
    module: Any = model.module()
    parts = []
    for i in range(0, len(texts), batch):
        x: Any = model.text.inputs(texts[i : i + batch])
        h = module.text(input_ids=x["ids"], attention_mask=x["mask"]).last_hidden_state
        parts.append((h * x["mask"][..., None]).sum(1) / x["mask"].sum(1, keepdim=True))
    return torch.cat(parts)


def captioned(model: Lite, table: Table[Any]) -> Captioned:
    """Return the pooled vectors of the photos of a table and of their captions."""
    captions = [tuple(texts) for texts in table.columns["captions"].values]
    owner = torch.arange(len(captions)).repeat_interleave(torch.tensor([len(texts) for texts in captions]))
    return Captioned(
        pooled_photos(model, table.items, range(len(captions))),
        pooled_texts(model, [text for texts in captions for text in texts]),
        owner,
    )


@torch.inference_mode()
def found(model: LiteModule, data: Captioned, k: int = 10) -> dict[str, NDArray[np.float64]]:
    """Return per photo the share of its captions that find it among k photos, and whether one of them is among the k
    texts nearest to it.
    """
    scores = model.text_head(data.texts) @ model.image_head(data.photos).T
    own = scores.gather(1, data.owner[:, None])
    hits = ((scores > own).sum(1) < k).double()
    count = torch.bincount(data.owner)
    best = np.full(len(count), -np.inf, np.float32)
    np.maximum.at(best, data.owner.numpy(), own[:, 0].numpy())
    return {
        "photo by caption": (
            torch.zeros(len(count), dtype=torch.double).index_add_(0, data.owner, hits) / count
        ).numpy(),
        "caption by photo": ((scores > torch.from_numpy(best)).sum(0) < k).double().numpy(),
    }


def permuted(data: Captioned, seed: int) -> Captioned:
    """Return the photos with each other's captions."""
    order = torch.randperm(len(data.photos), generator=Run(seed=seed).generator("captions"))
    return Captioned(data.photos, data.texts, order[data.owner])


def judge(data: Path) -> dict[str, Any]:
    """Measure R@10 of sentences and top-1 of names with each weight, beside ``lite`` and permuted captions."""
    model = load_lite()
    sets = {name: open_data(data / name / "captions.csv") for name in SETS}
    train = captioned(model, next(iter(sets.values())).split("train"))
    judged = {name: captioned(model, sets[name].split(part)) for name, part in SETS.items()}
    models = {name: with_panel(model, learn(train), weight) for name, weight in WEIGHTS.items()}
    models |= {
        f"{name}, permuted captions": with_panel(model, learn(permuted(train, seed=0)), weight)
        for name, weight in WEIGHTS.items()
    }
    sentences: dict[str, Any] = {}
    for name, photos_of in judged.items():
        before = found(model.module(), photos_of)
        after = {title: found(other.module(), photos_of) for title, other in models.items()}
        sentences[name] = {"photos": len(photos_of.photos), "captions": len(photos_of.texts), **{
            way: {"lite": float(before[way].mean()), **{
                title: {"value": float(hits[way].mean()), "gain": asdict(paired_bootstrap(hits[way], before[way], 0))}
                for title, hits in after.items()
            }} for way in before
        }}  # fmt: skip
    return {
        "sentences": sentences,
        "photos with captions": _sizes(model, train, judged["flickr8k_small"]),
        "names": {title: _names(model, models, data, name, part) for title, name, part in LARGE_ROWS},
    }


def _sizes(model: Lite, train: Captioned, judged: Captioned) -> dict[str, Any]:
    """Return R@10 on the first set by how many photos with captions were learnt from, over draws of them."""
    sizes: dict[str, Any] = {}
    for size in SIZES:
        values = []
        for seed in range(DRAWS if size < len(train.photos) else 1):
            order = torch.randperm(len(train.photos), generator=Run(seed=seed).generator("photos"))[:size]
            panel = with_panel(model, learn(train.of(order)), WEIGHTS["sentences"])
            values.append({way: float(hits.mean()) for way, hits in found(panel.module(), judged).items()})
        sizes[str(size)] = {way: [v[way] for v in values] for way in values[0]}
    return sizes


@torch.inference_mode()
def _names(model: Lite, models: Mapping[str, Lite], data: Path, name: str, part: str | None) -> dict[str, Any]:
    """Return top-1 of class names, by the ensemble of prompts, on one row of the large sets."""
    table, classes = photos(data, name, part)
    y = table.labels()
    x = pooled_photos(model, table.items, range(len(y)))
    prompts = ClassNames.of([tidy(c) for c in classes], ENSEMBLE).prompts()
    t = pooled_texts(model, [text for texts in prompts for text in texts])

    def hits(one: Lite) -> NDArray[np.bool_]:
        head = normalize(one.module().text_head(t).reshape(len(classes), -1, one.spec.dim).mean(1), dim=1)
        found: NDArray[np.bool_] = (one.module().image_head(x) @ head.T).argmax(1).numpy() == y
        return found

    before = hits(model)
    return {"photos": len(y), "lite": float(before.mean()), **{
        title: {"value": float(h.mean()), "gain": asdict(paired_bootstrap(h, before, 0))}
        for title, h in ((title, hits(one)) for title, one in models.items())
    }}  # fmt: skip


def main(words: Sequence[str] | None = None) -> None:
    """Fit and save a model, or judge."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.lite_captions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fit = commands.add_parser("fit", help="learn the panel from photos with captions, and save the model")
    fit.add_argument("captions", type=Path, help="table of photos and captions; of its splits, train is read")
    fit.add_argument(
        "--weight", type=float, default=WEIGHTS["sentences"], help="of the panel, >= 0; default %(default)s"
    )
    fit.add_argument("--out", type=Path, required=True, help="new folder for the model")
    judged = commands.add_parser("judge", help="measure on the development sets")
    judged.add_argument("--data", type=Path, required=True, help="folder of the development sets")
    judged.add_argument("--out", type=Path, help="result")
    options = parser.parse_args(words)
    if options.command == "fit":
        model, data = load_lite(), open_data(options.captions)
        table = data.split("train" if "train" in data.splits else next(iter(data.splits)))
        learnt = captioned(model, table)
        save(with_panel(model, learn(learnt), options.weight), options.out)
        sys.stdout.write(
            f"{options.out}: lite with a panel of {WIDTH} numbers from {len(learnt.photos)} photos and "
            f"{len(learnt.texts)} captions. Use it by --backbone local:{options.out}\n"
        )
        return
    result = {**judge(options.data), "command": "python -m recipes.lite_captions judge", "date": now(),
              "versions": versions()}  # fmt: skip
    text = json.dumps(result, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
