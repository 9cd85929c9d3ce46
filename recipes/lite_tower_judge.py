"""What ``lite:views`` reaches beside ``lite``: zero-shot top-1 on the development sets, looked at once.

python -m recipes.lite_tower_judge --data DATA --out results/lite-views.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch.nn import functional as F

from diptych.backbones.lite import Lite, load_lite, load_views
from diptych.core import ClassNames, Table
from diptych.data.words.classnames import tidy
from diptych.data.words.sentences import article
from diptych.data.words.templates import ENSEMBLE
from diptych.metrics.calibration import expected_calibration_error
from diptych.metrics.interval import paired_bootstrap
from diptych.tasks.record import now, versions
from recipes.photo_sets import SETS, photos

DOMAINS = ("photo", "art_painting", "cartoon", "sketch")
ROWS: Sequence[tuple[str, str, str | None]] = (
    *((name, name, part) for name, part in SETS.items() if name != "pacs_small"),
    *((f"pacs_small/{domain}", "pacs_small", domain) for domain in DOMAINS),
)
"""Title, set, and what ``photo_sets.photos`` takes of it."""
Scores = NDArray[np.float32]


def judge(data: Path, seed: int = 0, every: int = 1) -> dict[str, Any]:
    """Measure both models on every row, with one prompt and with the ensemble.

    Args:
        data: folder of the development sets.
        seed: of the bootstrap.
        every: take one photo in so many.

    Returns:
        Row -> photos, and for each prompting top-1 of both, the gain with its paired 95 % interval, and calibration
        errors; and means over rows.
    """
    models = {"lite": load_lite(), "lite:views": load_views()}
    rows: dict[str, Any] = {}
    for title, name, part in ROWS:
        table, classes = photos(data, name, part)
        kept = range(0, len(table), every)
        y = table.labels()[list(kept)]
        scores = {key: of_table(model, table, kept, [tidy(c) for c in classes]) for key, model in models.items()}
        rows[title] = {"photos": len(y), "classes": len(classes), **{
            prompting: compared(scores["lite"][prompting], scores["lite:views"][prompting], y,
                                [float(m.scale()[0]) for m in models.values()], seed)
            for prompting in ("prompt", "ensemble")
        }}  # fmt: skip
    return {"rows": rows, "mean": {p: means(rows, p) for p in ("prompt", "ensemble")}}


@torch.inference_mode()
def of_table(model: Lite, table: Table[Any], kept: Sequence[int], names: Sequence[str]) -> Mapping[str, Scores]:
    """Return prompting -> (N, K) products of image and text vectors."""
    image = torch.cat([
        F.normalize(model.image.encode(model.image.inputs([table.items[j] for j in kept[i : i + 32]])), dim=-1)
        for i in range(0, len(kept), 32)
    ])  # fmt: skip
    spoken = ClassNames.of(names, ENSEMBLE).prompts()
    flat = [prompt for prompts in spoken for prompt in prompts]
    t = F.normalize(model.text.encode(model.text.inputs(flat)), dim=-1).reshape(len(names), -1, image.shape[1])
    one = model.text.encode(model.text.inputs([f"a photo of {article(n)}." for n in names]))
    heads = {"prompt": F.normalize(one, dim=-1), "ensemble": F.normalize(t.mean(1), dim=-1)}
    return {prompting: (image @ head.T).numpy() for prompting, head in heads.items()}


def compared(old: Scores, new: Scores, y: NDArray[np.int64], scales: Sequence[float], seed: int) -> dict[str, Any]:
    """Return top-1 of both, the paired gain, and the calibration error of each at its own scale."""
    hits = [s.argmax(1) == y for s in (old, new)]
    errors = [
        expected_calibration_error(softmax(scale * s.astype(np.float64), axis=1), y)
        for s, scale in zip((old, new), scales, strict=True)
    ]
    return {
        "lite": float(hits[0].mean()),
        "lite:views": float(hits[1].mean()),
        "gain": asdict(paired_bootstrap(hits[1], hits[0], seed)),
        "calibration_error": dict(zip(("lite", "lite:views"), errors, strict=True)),
    }


def means(rows: Mapping[str, Any], prompting: str) -> dict[str, Any]:
    """Return means over the seven rows, and over the four sets with the domains of PACS as one."""
    out: dict[str, Any] = {}
    for key in ("lite", "lite:views"):
        seven = {title: row[prompting][key] for title, row in rows.items()}
        domains = [v for title, v in seven.items() if title.startswith("pacs")]
        others = [v for title, v in seven.items() if not title.startswith("pacs")]
        out[key] = {"seven rows": float(np.mean(list(seven.values()))),
                    "four sets": float(np.mean([*others, np.mean(domains)]))}  # fmt: skip
    return out


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.lite_tower_judge", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="folder of the development sets")
    parser.add_argument("--out", type=Path, help="result")
    asked = parser.parse_args(words)
    found = {**judge(asked.data), "weights": load_views().spec.weights, "command": "python -m recipes.lite_tower_judge",
             "date": now(), "versions": versions()}  # fmt: skip
    text = json.dumps(found, indent=1) + "\n"
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
