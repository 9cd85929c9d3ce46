"""The recipe of ``lite:views``: EfficientNet-Lite0 distilled into itself, so that few pixels, edges, posters, grey and
drawings give what the clean photo gives.

npm pack @iconify-json/NAME     for noto, twemoji, fluent-emoji-flat, fluent-emoji-high-contrast, emojione-monotone,
                                game-icons, ph and tabler
npm pack @lobehub/fluent-emoji-3d                unpack each into PACKS, in a folder called as its file
python -m recipes.lite_tower prepare --data DATA --packs PACKS --work WORK     needs resvg-py
python -m recipes.lite_tower train --work WORK --steps 3000                    resumes where it stopped
python -m recipes.lite_tower choose --data DATA --work WORK                    writes assets/lite/views.safetensors

    L = KL(p(x) || p'(x)) + KL(p(x) || p'(v)) + 2 (1 - cos(f(x), f'(x))) + 2 (1 - cos(f(x), f'(v))) + KL(q(d) || q'(d))

x: crop of a photo; v: a view of it (see ``recipes.lite_views``); d: a drawing
f, p: pooled vector and posterior of the published tower; f', p': those of the tower in training
q(d): softmax of s times the products of the text of d's name with the texts of all names
q'(d): the same with the image vector of d in the place of the text of its name
s: 20

Classifier, text tower, heads and (``--norms frozen``) statistics of batch norms stay as they are. Then weights are
mixed with the published ones (WiSE-FT, Wortsman et al. 2022) by the share that is best on proxies.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.lite import Lite, load_lite
from diptych.backbones.lite_files import VIEWS
from diptych.core import Clock, NotAvailable, ParamGroup, Row, Run, Trainee
from diptych.data.images import open_image
from diptych.data.words.sentences import article
from diptych.tasks.record import now, versions
from diptych.train import checkpoint
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule
from recipes.lite_choice import choose
from recipes.lite_pictures import SIDE, Drawing, drawings, held_out, photo_paths
from recipes.lite_proxies import proxies, tower_pixels
from recipes.lite_views import any_view, crop, placed
from recipes.number_stream import Numbers

CROPS, TRAINED = 3, 160
"""Crops of a photo, and the side of the pixels that the tower trains on."""
SCALE, FEATURES = 20.0, 2.0
STYLED = 0.4
"""Share of coloured drawings that get a view on top."""


@dataclass(frozen=True)
class Pictures:
    """What ``prepare`` wrote.

    Args:
        crops: (N, 192, 192, 3) uint8 crops of photos.
        pooled: (N, 1280) float16, the published tower's pooled vectors of the crops.
        drawn: (M, 192, 192, 4) uint8 drawings.
        ink: (M,) bool.
        name: (M,) number of the name.
        texts: (K, 2664) unit text vectors of the names.
    """

    crops: NDArray[np.uint8]
    pooled: Tensor
    drawn: NDArray[np.uint8]
    ink: NDArray[np.bool_]
    name: NDArray[np.int64]
    texts: Tensor

    @classmethod
    def read(cls, work: Path) -> Pictures:
        """Read a folder.

        Raises:
            NotAvailable: ``prepare`` has not run.
        """
        if not (work / "texts.npy").is_file():
            raise NotAvailable(f"{work} has no pictures: run python -m recipes.lite_tower prepare first.")

        def array(name: str, *, mapped: bool = False) -> Any:
            return np.load(work / f"{name}.npy", mmap_mode="r" if mapped else None, allow_pickle=False)

        return cls(
            array("crops", mapped=True), torch.from_numpy(array("pooled")), array("drawn", mapped=True), array("ink"),
            array("name"), torch.from_numpy(array("texts")),
        )  # fmt: skip


def prepare(data: Path, packs: Path, work: Path, seed: int = 0) -> dict[str, Any]:
    """Write crops, the published tower's vectors of them, drawings, and the text vectors of their names.

    Args:
        data: folder of the development sets.
        packs: folder of the unpacked npm packages.
        work: folder to write to.
        seed: of the crops.

    Returns:
        Counts.
    """
    work.mkdir(parents=True, exist_ok=True)
    lite, g = load_lite("lite:2026-11"), np.random.default_rng(Run(seed=seed).integer("crops"))
    paths = [p for p in photo_paths(data) if not held_out(p.relative_to(data).as_posix())]
    crops = np.stack([crop(image, SIDE, g) for p in paths for image in [open_image(p)] for _ in range(CROPS)])
    np.save(work / "crops.npy", crops)
    module = lite.module()
    with torch.inference_mode():
        batches = (torch.from_numpy(crops[i : i + 32]) for i in range(0, len(crops), 32))
        pooled = [module.image(tower_pixels(some, TRAINED)).half() for some in batches]
    np.save(work / "pooled.npy", torch.cat(pooled).numpy())
    names, count = _prepare_drawings(lite, drawings(packs), work)
    return {"photos": len(paths), "crops": len(crops), "drawings": count, "names": names}


def _prepare_drawings(lite: Lite, drawings: Sequence[Drawing], work: Path) -> tuple[int, int]:
    """Write the drawings of training with the texts of their names, and those of held-out names.

    Returns:
        Names and drawings of training.
    """
    kept, held = ([d for d in drawings if held_out(d.name) is out] for out in (False, True))
    names = sorted({d.name for d in kept})
    number = {n: i for i, n in enumerate(names)}
    for start, some in (("", kept), ("held-", held)):
        np.save(work / f"{start}drawn.npy", np.stack([d.rgba for d in some]))
        np.save(work / f"{start}ink.npy", np.array([d.ink for d in some]))
        (work / f"{start}names.json").write_text(json.dumps([d.name for d in some]), encoding="utf-8")
    np.save(work / "name.npy", np.array([number[d.name] for d in kept]))
    np.save(work / "texts.npy", texts_of(lite, names).numpy())
    return len(names), len(kept)


def held_out_drawings(work: Path) -> list[Drawing]:
    """Return the drawings of names that training never sees, as ``prepare`` wrote them."""
    drawn, ink = np.load(work / "held-drawn.npy", mmap_mode="r"), np.load(work / "held-ink.npy")
    names = json.loads((work / "held-names.json").read_text(encoding="utf-8"))
    return [Drawing(n, x, bool(i)) for n, x, i in zip(names, drawn, ink, strict=True)]


@torch.no_grad()
def texts_of(lite: Lite, names: Sequence[str]) -> Tensor:
    """Return (K, D) unit vectors of "a photo of a NAME."."""
    prompts = [f"a photo of {article(n)}." for n in names]
    rows = [lite.text.encode(lite.text.inputs(prompts[i : i + 64])) for i in range(0, len(prompts), 64)]
    return F.normalize(torch.cat(rows), dim=-1)


class TowerTrainee(Trainee):
    """Lite0 in training, with itself as the teacher.

    Args:
        lite: the published model; a copy of its image tower trains.
        pictures: what ``prepare`` wrote.
        norms: "frozen" keeps the statistics of the batch norms, "batch" learns them.
    """

    def __init__(self, lite: Lite, pictures: Pictures, norms: str = "frozen") -> None:
        self.head = lite.module().image_head
        self.head.requires_grad_(False)
        tower = copy.deepcopy(lite.module().image).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = nn.ModuleDict({"image": tower})
        self.pictures, self.norms = pictures, norms
        self.among = (SCALE * pictures.texts @ pictures.texts.T).softmax(-1)

    def module(self) -> nn.Module:
        """Return the tower, under the name "image"."""
        return self.net

    def groups(self) -> list[ParamGroup]:
        """Return the weights, and the vectors, which do not decay."""
        wide = tuple(n for n, p in self.net.named_parameters() if p.ndim > 1)
        return [
            ParamGroup(wide),
            ParamGroup(tuple(n for n, p in self.net.named_parameters() if p.ndim <= 1), decay=0.0),
        ]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return a crop, its number, a view of it, a drawing and the number of its name."""
        draw = np.random.default_rng(int(torch.randint(2**62, (), generator=g)))
        number, which = int(draw.integers(len(self.pictures.crops))), int(draw.integers(len(self.pictures.drawn)))
        clean = np.asarray(self.pictures.crops[number])
        drawn = placed(np.asarray(self.pictures.drawn[which]), bool(self.pictures.ink[which]), clean, draw)
        if not self.pictures.ink[which] and draw.random() < STYLED:
            drawn = any_view(drawn, draw)
        return {
            "clean": torch.tensor(clean), "view": torch.tensor(any_view(clean, draw)), "photo": number,
            "drawn": torch.tensor(drawn), "name": int(self.pictures.name[which]),
        }  # fmt: skip

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the terms of the clean crops, of their views, and of the drawings."""
        if self.norms == "frozen":
            for part in self.net.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()
        f = self.net["image"](tower_pixels(torch.cat([batch[k] for k in ("clean", "view", "drawn")]), TRAINED))
        clean, view, drawn = f.chunk(3)
        pooled = self.pictures.pooled[batch["photo"]].float()
        p = self.head.classifier(pooled).softmax(-1)
        out = {}
        for name, student in (("clean", clean), ("view", view)):
            q = self.head.classifier(student).log_softmax(-1)
            out[name] = F.kl_div(q, p, reduction="batchmean")
            out[f"{name} features"] = FEATURES * (1 - F.cosine_similarity(student, pooled, dim=-1)).mean()
        scores = (SCALE * self.head(drawn) @ self.pictures.texts.T).log_softmax(-1)
        out["drawn"] = F.kl_div(scores, self.among[batch["name"]], reduction="batchmean")
        return out


def fit_tower(
    work: Path, out: Path, steps: int, norms: str, rate: float = 3e-4, start: Path | None = None, seed: int = 0
) -> nn.Module:
    """Train, or go on with a training that stopped, and return the tower.

    Args:
        work: folder that ``prepare`` wrote.
        out: folder of checkpoints and log.
        steps: steps of 10 crops, 10 views and 10 drawings.
        norms: as for ``TowerTrainee``.
        rate: highest learning rate.
        start: folder of a training whose newest weights this one starts from; None: the published ones.
        seed: fixes everything.
    """
    trainee = TowerTrainee(load_lite("lite:2026-11"), Pictures.read(work), norms)
    if start is not None and checkpoint.newest(out / "checkpoints") is None:
        trainee.net["image"].load_state_dict(newest_state(start)[0])
    fit = Fit(rate, 10, steps=steps, schedule=Schedule(warmup=30), decay=0.02, clip=5.0, save_every=50, log_every=5)
    train(trainee, Numbers(), fit, Run(seed=seed, out=out), resume=True)
    tower: nn.Module = trainee.net["image"].eval()
    return tower


def newest_state(out: Path) -> tuple[dict[str, Tensor], int]:
    """Return the tower's tensors in the newest checkpoint of a training, and the step it was written after.

    Raises:
        NotAvailable: there is no checkpoint.
    """
    newest = checkpoint.newest(out / "checkpoints")
    if newest is None:
        raise NotAvailable(f"{out} has no checkpoint: run python -m recipes.lite_tower train first.")
    tensors, state = checkpoint.read(newest)
    tower = {n.removeprefix("image."): t for n, t in tensors["module"].items()}
    return tower, int(state["place"]["step"])


def main(words: Sequence[str] | None = None) -> None:
    """Run one step of the recipe."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.lite_tower", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("prepare", "train", "choose"))
    parser.add_argument("--data", type=Path, help="folder of the development sets")
    parser.add_argument("--packs", type=Path, help="folder of the unpacked npm packages")
    parser.add_argument("--work", type=Path, required=True, help="folder of prepared pictures and of the training")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--norms", choices=("frozen", "batch"), default="frozen")
    parser.add_argument("--rate", type=float, default=3e-4, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="folder of a training whose weights this one starts from")
    parser.add_argument("--out", type=Path, help="folder of the training (default: WORK/training)")
    parser.add_argument("--every", type=int, default=3, help="of the proxies, take one picture in so many")
    parser.add_argument("--views", type=Path, default=VIEWS, help="where the tower is written")
    parser.add_argument("--result", type=Path, help="where the result is written")
    options = parser.parse_args(words)
    out = options.out or options.work / "training"
    if options.step == "prepare":
        report = prepare(options.data, options.packs, options.work)
    elif options.step == "train":
        fit_tower(options.work, out, options.steps, options.norms, options.rate, options.start, options.seed)
        report = {"steps": options.steps, "norms": options.norms, "rate": options.rate, "seed": options.seed}
    else:
        lite = load_lite("lite:2026-11")
        looks = list(proxies(options.data, held_out_drawings(options.work), every=options.every))
        texts = [texts_of(lite, look.classes) for look in looks]
        tensors, state = newest_state(out)
        report = {**choose(lite, tensors, looks, texts, options.views), "step": state}
    text = json.dumps({**report, "date": now(), "versions": versions()}, indent=1) + "\n"
    if options.result:
        options.result.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
