"""How the mask proposer ``ranked-cells`` was made: spaces where cells of one thing are near, and a ranking of regions.

python -m recipes.mask_proposer train --data DATA --out OUT      resumes where it stopped
python -m recipes.mask_proposer judge --data DATA --out results/ranked-cells.json [--net OUT/ranked_cells.safetensors]

1. Spaces: linear discriminant analysis of the cells of 240 composed pictures (``recipes.mask_scenes``). A class is
   one thing or area. A closed form.
2. Regions of the trees of further pictures, in shards of 25: all that fit a thing a little, and 150 others.
3. Ranking: binary cross-entropy to the share of the IoU thresholds 0.5 to 0.95 that a region passes with its best
   thing. A region counts by the share of it whose truth is known, and a tenth at least.

Judged on photos that it never saw, by the recall of labelled regions, which are the connected parts of one class of at
least 64 pixels: at 10, 50 and 100 proposals, averaged over the ten thresholds and the photos.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.linalg import eigh
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.mask_models.merged_cells import MergedCells
from diptych.backbones.mask_models.ranked_cells import (
    DEEP,
    FINE,
    WEIGHTS,
    RankedCells,
    RegionScorer,
    candidates,
    cell_features,
    load_scorer,
)
from diptych.backbones.sources.vision import load_vision
from diptych.core import MaskProposer, Space
from diptych.data.files import write_json
from diptych.evaluation.datasets import open_set
from diptych.metrics.interval import bootstrap_mean, paired_bootstrap
from diptych.metrics.mask_ap import THRESHOLDS, matched
from diptych.tasks.record import now, versions
from recipes.mask_scenes import Picture, Sources, compose, open_sources

FILE = "ranked_cells.safetensors"
SPACES, SHARD, OTHERS, RIDGE = 240, 25, 150, 0.05
"""Pictures of the spaces; pictures of a shard; regions of a picture that fit nothing; share of its diagonal that the
scatter within things gets added.
"""
EPOCHS, BATCH, RATE = 12, 512, 1e-3
COUNTS = (10, 50, 100)
SETS = {"msrc_small": "val", "coco_mini": "test"}
LEAST = 64
"""Pixels of the smallest labelled region."""


def on_cells(picture: Picture, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return (n, h, w) shares of cells that things cover, and the (h, w) share that is known."""
    masks = torch.from_numpy(np.concatenate([picture.masks, picture.known[None]])).float()
    shares = F.adaptive_avg_pool2d(masks[None], size)[0]
    return shares[:-1], shares[-1]


def learn_spaces(scorer: RegionScorer, sources: Sources, encoder: Space, seed: int) -> None:
    """Set the two spaces, and the mean and deviation of cells."""
    within: Any = 0.0
    between: Any = 0.0
    sums, squares, count = torch.zeros(2, len(scorer.get_buffer("mean")), dtype=torch.float64), 0.0, 0
    total, squares = sums
    for number in range(SPACES):
        picture = compose(sources, seed, number)
        x = cell_features(picture.image, encoder, 64, 320).double()
        total += x.sum((0, 1))
        squares += (x**2).sum((0, 1))
        count += x.shape[0] * x.shape[1]
        means = []
        for share in on_cells(picture, (x.shape[0], x.shape[1]))[0]:
            cells = x[share > 0.9]
            if len(cells) >= 6:
                means.append(cells.mean(0))
                d = cells - means[-1]
                within = within + d.T @ d / len(cells) ** 0.5  # large things count more, by the root of their size
        if len(means) > 1:
            d = torch.stack(means) - torch.stack(means).mean(0)
            between = between + d.T @ d / (len(means) - 1)
    mean = total / count
    scorer.get_buffer("mean").copy_(mean)
    scorer.get_buffer("deviation").copy_((squares / count - mean**2).sqrt().clamp_min(1e-6))
    fine = len(scorer.get_buffer("b"))
    scorer.get_buffer("a").copy_(directions(within.numpy(), between.numpy(), DEEP))
    scorer.get_buffer("b").copy_(directions(within[:fine, :fine].numpy(), between[:fine, :fine].numpy(), FINE))


def directions(within: NDArray[np.float64], between: NDArray[np.float64], count: int) -> Tensor:
    """Return (D, count) directions of the largest scatter between things, with a scatter of 1 within them."""
    within = within / np.trace(within) * len(within)
    directions = eigh(between, within + RIDGE * np.diag(np.diag(within)))[1][:, -count:]
    return torch.from_numpy(directions.copy())


def examples(picture: Picture, encoder: Space, scorer: RegionScorer, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return facts of regions of a picture, their share of passed thresholds, and their weights."""
    proposed = candidates(picture.image, encoder, scorer)
    masks = proposed.masks.flatten(1)
    things, known = on_cells(picture, (proposed.masks.shape[1], proposed.masks.shape[2]))
    share = masks @ known.flatten() / masks.sum(1)
    u = torch.zeros(len(masks))
    if len(things):
        t = things.flatten(1)
        both = masks @ t.T
        iou = (both / (masks.sum(1)[:, None] + t.sum(1)[None] - both)).amax(1)
        u = ((iou - 0.45) / 0.5).clamp(0, 1)
    rest = torch.nonzero(u <= 0.1)[:, 0].numpy()
    kept = np.concatenate([torch.nonzero(u > 0.1)[:, 0].numpy(), rng.permutation(rest)[:OTHERS]])
    return {"facts": proposed.facts(torch.from_numpy(kept)).half(), "u": u[kept], "weight": share[kept].clamp_min(0.1)}


def learn_ranking(scorer: RegionScorer, shards: Sequence[dict[str, Tensor]], seed: int) -> list[float]:
    """Train the network on examples; return the mean loss of each epoch."""
    facts, u, weight = (torch.cat([s[name] for s in shards]).float() for name in ("facts", "u", "weight"))
    scorer.get_buffer("facts_mean").copy_(facts.mean(0))
    scorer.get_buffer("facts_deviation").copy_(facts.std(0).clamp_min(1e-3))
    g, log = torch.Generator().manual_seed(seed), list[float]()
    optimiser = torch.optim.AdamW(scorer.net.parameters(), RATE, weight_decay=0.05)
    steps = EPOCHS * (len(facts) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=max(1, steps))
    scorer.train()
    for _ in range(EPOCHS):
        losses = []
        for rows in torch.split(torch.randperm(len(facts), generator=g), BATCH)[: len(facts) // BATCH]:
            loss = F.binary_cross_entropy_with_logits(scorer(facts[rows]), u[rows], weight[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
            losses.append(float(loss.detach()))
        log.append(round(float(np.mean(losses)), 4))
    scorer.eval()
    return log


def make(data: Path, out: Path, pictures: int, seed: int = 0) -> dict[str, Any]:
    """Train, or go on with a training that stopped, and write the weights, fp16.

    Args:
        data: folder of the development sets.
        out: folder of shards and result.
        pictures: of the ranking.
        seed: fixes everything.
    """
    from safetensors.torch import load_file, save_file

    out.mkdir(parents=True, exist_ok=True)
    sources, encoder = open_sources(data), load_vision("lite:2026-11")
    torch.manual_seed(seed)
    scorer = RegionScorer().eval()
    spaces = out / "spaces.safetensors"
    if not spaces.exists():
        learn_spaces(scorer, sources, encoder, seed)
        save_file({k: v.contiguous() for k, v in scorer.state_dict().items()}, spaces)
    scorer.load_state_dict(load_file(spaces))
    shards = []
    for first in range(0, pictures, SHARD):
        path = out / f"regions-{first:05}.safetensors"
        if not path.exists():
            rng = np.random.default_rng((seed, first))
            rows = [examples(compose(sources, seed + 1, n), encoder, scorer, rng) for n in range(first, first + SHARD)]
            save_file({name: torch.cat([r[name] for r in rows]) for name in rows[0]}, path)
        shards.append(load_file(path))
    log = learn_ranking(scorer, shards, seed)
    tensors = {name: t.half().contiguous() for name, t in scorer.state_dict().items()}
    save_file(tensors, out / FILE)
    regions = sum(len(s["u"]) for s in shards)
    return {"file": FILE, "bytes": (out / FILE).stat().st_size, "pictures": pictures, "regions": regions, "loss": log}


def labelled_regions(mask: NDArray[np.uint8], background: int | None) -> NDArray[np.bool_]:
    """Return (m, H, W): the connected parts of each class, of at least 64 pixels; 255 and the background are none."""
    regions = []
    for k in np.unique(mask):
        if k not in (255, background):
            parts, count = ndimage.label(mask == k)
            regions += [parts == n for n in range(1, count + 1)]
    kept = [m for m in regions if m.sum() >= LEAST]
    return np.stack(kept) if kept else np.zeros((0, *mask.shape), dtype=bool)


def recalls(image: Any, truth: NDArray[np.bool_], proposer: MaskProposer) -> NDArray[np.float64]:
    """Return the average recall of labelled regions at each of ``COUNTS`` proposals, on every second pixel."""
    masks = proposer.propose(image).masks[: max(COUNTS)]
    truth = truth[:, ::2, ::2]
    size = (truth.shape[1], truth.shape[2])
    shown = F.interpolate(masks[None], size, mode="bilinear", align_corners=False)[0] >= 0.5
    ranks = np.arange(len(masks), 0, -1, dtype=np.float64)
    zeros = np.zeros(max(len(masks), len(truth)), dtype=int).tolist()
    one = matched(shown.numpy(), ranks.tolist(), zeros[: len(masks)], truth, zeros[: len(truth)], 1)
    return np.array([one.hits[:, :count].sum() / (len(THRESHOLDS) * len(truth)) for count in COUNTS])


def judge(
    data: Path,
    proposers: dict[str, MaskProposer],
    base: str,
    sets: Sequence[str] = tuple(SETS),
    split: str | None = None,
    most: int | None = None,
) -> dict[str, Any]:
    """Return the recalls of proposers on photos with label maps, and their gains over the base, with intervals."""
    report = {}
    for name in sets:
        labelled, settings = open_set(str(data / name), "masks"), SETS[name]
        if (split or settings) not in labelled.splits:
            continue
        table = labelled[split or settings]
        table = table.take(sorted(sorted(range(len(table)), key=table.items.key)[:most]))
        background = labelled.classes.index("background") if "background" in labelled.classes else None
        rows: dict[str, list[NDArray[np.float64]]] = {n: [] for n in proposers}
        seconds, regions = dict.fromkeys(proposers, 0.0), 0
        for i in range(len(table)):
            truth = labelled_regions(np.asarray(table.columns["mask"].values[i]), background)
            regions += len(truth)
            for n, proposer in proposers.items():
                start = time.process_time()
                if len(truth):
                    rows[n].append(recalls(table.items[i], truth, proposer))
                seconds[n] += time.process_time() - start
        report[name] = {"split": split or settings, "photos": len(rows[base]), "regions": regions} | {
            n: {
                f"recall_{count}": _facts(bootstrap_mean(np.array(rows[n])[:, k], seed=0))
                | ({} if n == base else {"gain": _facts(paired_bootstrap(
                    np.array(rows[n])[:, k], np.array(rows[base])[:, k], seed=0))})
                for k, count in enumerate(COUNTS)
            } | {"cpu_seconds_a_photo": round(seconds[n] / max(1, len(rows[n])), 3)}
            for n in proposers
        }  # fmt: skip
    return report


def _facts(interval: Any) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def main(words: Sequence[str] | None = None) -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.mask_proposer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("train", "judge"))
    parser.add_argument("--data", type=Path, required=True, help="folder of the development sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the training, or file of the judgement")
    parser.add_argument("--net", type=Path, default=WEIGHTS, help="file that is judged")
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--sets", help="sets that are judged, with commas (default: all)")
    parser.add_argument("--split", help="judge another split, such as train for choices")
    parser.add_argument("--most", type=int, help="photos of a set that are judged, of the least keys (default: all)")
    options = parser.parse_args(words)
    start, facts = time.perf_counter(), {"seed": 0, "date": now(), "versions": versions()}
    chosen = [
        f"--{name} {getattr(options, name)}" for name in ("sets", "split", "most") if getattr(options, name) is not None
    ]
    facts |= {"command": " ".join(["python -m recipes.mask_proposer", options.what, *chosen])}
    if options.what == "train":
        facts |= make(options.data, options.out, options.pictures)
    else:
        encoder = load_vision("lite:2026-11")
        proposers: dict[str, MaskProposer] = {
            "merged-cells": MergedCells(count=max(COUNTS)),
            "merged-cells:lite": MergedCells(count=max(COUNTS), encoder=encoder),
            "ranked-cells": RankedCells(encoder, load_scorer(options.net)),
        }
        chosen_sets = options.sets.split(",") if options.sets else tuple(SETS)
        facts |= {"sets": judge(options.data, proposers, "merged-cells", chosen_sets, options.split, options.most)}
    facts |= {"seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(time.process_time(), 1)}
    if options.what == "judge":
        write_json(options.out, facts, overwrite=True)
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
