"""Why a segmenter is poor on a set of photos with label maps: its mIoU with one thing changed at a time.

    python -m benchmarks.segment_why camvid_small maskclip,sclip --items 12 --words "sky, building, pole, ..."
    python -m benchmarks.segment_why camvid_small --fitted kept/dinoiser --items 12

The columns:

- plain: its own map.
- regions: each connected part of a class in the label map gets one class, that of its mean probability. What is wrong
  then is the names of regions, and no border.
- even: of each class its mean log-probability over all pixels of the photos is subtracted. What is better then was
  hidden by classes that are likely everywhere.
- most: the class that is named most often, with its share of the pixels and that of the labels.

The rows of each system: its own sizes and names, then with other words, then with photos of twice the size. Nothing is
chosen by these numbers: they read the labels of the photos that they are about.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from diptych import catalog
from diptych.backbones.sources.load import load
from diptych.core import ClassNames, Evidence, Run, Segmenter
from diptych.core.void import void_of
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.boards.choice import stated_of
from diptych.evaluation.boards.segment import MaskBench
from diptych.evaluation.datasets import open_set
from diptych.metrics.segmentation import confusion, mean_iou
from diptych.nn.dense.label_maps import Windows, dense_map, upsampled

Maps = list[tuple[torch.Tensor, NDArray[Any]]]
"""The (K, h, w) log-probabilities of each photo, and its label map."""


def main(words: list[str]) -> None:
    """Print a row for each system and change."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segment_why", description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("methods", nargs="?", default="")
    parser.add_argument("--fitted", default="", help="folder of a fitted segmenter, in place of methods")
    parser.add_argument("--items", type=int)
    parser.add_argument("--words", default="", help="other class names, with commas, in the order of the classes")
    given = parser.parse_args(words)
    data = open_set(given.data, "masks")
    bench = MaskBench(data, load("lite"), Run(batch=1, workers=1), (1,), most=given.items)
    changes: list[tuple[str, MaskBench, int]] = [("", bench, 1)]
    if given.words:
        names = ClassNames(tuple(w.strip() for w in given.words.split(",")), ENSEMBLE)
        changes.append(("other words", replace(bench, classes=names), 1))
    changes.append(("twice the size", bench, 2))
    sys.stdout.write(f"{given.data}: {len(bench.table)} photos, mIoU in percent\n")
    sys.stdout.write(f"{'system':16}{'changed':16}{'plain':>7}{'regions':>9}{'even':>7}  most\n")
    for slug in [given.fitted] if given.fitted else given.methods.split(","):
        for title, settings, times in changes:
            fitted = _fitted(settings, slug, bool(given.fitted), times)
            if fitted is None:
                continue
            row = _measured(settings, *fitted)
            sys.stdout.write(f"{Path(slug).name:16}{title:16}{row}\n")
            sys.stdout.flush()


def _fitted(bench: MaskBench, slug: str, loaded: bool, times: int) -> tuple[Any, ClassNames] | None:
    """Return a fitted segmenter and what it was asked; None where it reads photos of one size alone."""
    if loaded:
        folder = Path(slug)
        (about,) = stated_of("segment", [folder])
        if times > 1:
            return None
        return bench.read(folder, about), bench.names
    system = catalog.find(slug, Segmenter)
    method: Any = catalog.row(system, "")
    if times > 1:
        if not isinstance(windows := getattr(method, "windows", None), Windows):
            return None
        method = replace(method, windows=replace(windows, side=times * windows.side))
    kit, evidence = bench.given(system)
    return method.fit(
        kit, bench._question(bench.names, method).fit_classes, evidence or Evidence(), bench.run
    ), bench.names


def _measured(bench: MaskBench, fitted: Any, names: ClassNames) -> str:
    maps: Maps = []
    for regions, mask in zip(
        fitted.regions(bench.table.items, bench.run), bench.table.columns["mask"].values, strict=True
    ):
        values = dense_map(regions)
        log = values.log_softmax(0) if regions.scores.kind == "logit" else values.clamp_min(1e-8).log()
        maps.append((log.cpu(), np.asarray(mask)))
    size = len(names)
    mean = torch.stack([log.flatten(1).mean(1) for log, _ in maps]).mean(0)[:, None, None]
    plain = sum(confusion(_best(log, mask), mask, size) for log, mask in maps)
    even = sum(confusion(_best(log - mean, mask), mask, size) for log, mask in maps)
    named = sum(confusion(_of_regions(log, mask, size), mask, size) for log, mask in maps)
    top = int(np.argmax(plain.sum(0)))
    numbers = [100 * float(mean_iou(counts)) for counts in (plain, named, even)]
    share, truth = (100 * plain.sum(axis)[top] / plain.sum() for axis in (0, 1))
    return "{:7.1f}{:9.1f}{:7.1f}".format(*numbers) + f"  {names.names[top]}: {share:.0f} of {truth:.0f} %"


def _best(log: torch.Tensor, mask: NDArray[Any]) -> NDArray[np.int64]:
    height, width = mask.shape
    return upsampled(log, height, width, 0, height).argmax(0).numpy()


def _of_regions(log: torch.Tensor, mask: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Return the label map in which each connected part of a class has the class of its mean probability."""
    height, width = mask.shape
    shares = upsampled(log.exp(), height, width, 0, height).flatten(1).numpy()
    numbers = np.zeros(mask.shape, dtype=np.int64)  # 0: of no class
    for k in np.unique(mask[mask != void_of(size)]):
        parts, _ = ndimage.label(mask == k)
        numbers = np.where(parts > 0, parts + numbers.max(), numbers)
    sums = np.stack([np.bincount(numbers.ravel(), weights=share) for share in shares])
    return sums.argmax(0)[numbers]


if __name__ == "__main__":
    main(sys.argv[1:])
