"""What one ``lite`` reaches beside another: zero-shot top-1 on the development sets, each looked at once.

python -m recipes.lite_tower_judge --data DATA --out results/lite.json
python -m recipes.lite_tower_judge lite:2026-11 lite:views --small --data DATA --out results/lite-views.json
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

from diptych.backbones.lite import Lite, load_lite
from diptych.backbones.lite_files import SHARES
from diptych.core import ClassNames, Table
from diptych.data.words.classnames import tidy
from diptych.data.words.sentences import article
from diptych.data.words.templates import ENSEMBLE
from diptych.metrics.calibration import expected_calibration_error
from diptych.metrics.interval import paired_bootstrap
from diptych.tasks.record import now, versions
from recipes.photo_sets import LARGE, SETS, photos

DOMAINS = ("photo", "art_painting", "cartoon", "sketch")
ROWS: Sequence[tuple[str, str, str | None]] = (
    *((name, name, part) for name, part in SETS.items() if name != "pacs_small"),
    *((f"pacs_small/{domain}", "pacs_small", domain) for domain in DOMAINS),
)
"""Title, set, and what ``photo_sets.photos`` takes of it."""
LARGE_ROWS: Sequence[tuple[str, str, str | None]] = (
    *((name, name, part) for name, part in LARGE.items()),
    *((f"pacs_large/{domain}", "pacs_large", domain) for domain in DOMAINS),
)
Scores = NDArray[np.float32]


def judge(
    data: Path,
    names: tuple[str, str] = ("lite:2026-11", "lite"),
    rows: Sequence[tuple[str, str, str | None]] = LARGE_ROWS,
    seed: int = 0,
    every: int = 1,
) -> dict[str, Any]:
    """Measure two models on every row, with one prompt and with the ensemble.

    Args:
        data: folder of the development sets.
        names: the reference, and the model that is compared with it.
        rows: ``ROWS`` or ``LARGE_ROWS``.
        seed: of the bootstrap.
        every: take one photo in so many.

    Returns:
        Row -> photos, and for each prompting top-1 of both, the gain with its paired 95 % interval, and calibration
        errors; and means over rows.
    """
    models = {name: load_lite(name) for name in names}
    out: dict[str, Any] = {}
    for title, name, part in rows:
        table, classes = photos(data, name, part)
        chosen = range(0, len(table), every)
        y = table.labels()[list(chosen)]
        scores = {key: of_table(model, table, chosen, [tidy(c) for c in classes]) for key, model in models.items()}
        out[title] = {"photos": len(y), "classes": len(classes), **{
            prompting: compared({key: s[prompting] for key, s in scores.items()}, y,
                                [float(m.scale()[0]) for m in models.values()], seed)
            for prompting in ("prompt", "ensemble")
        }}  # fmt: skip
    return {"rows": out, "mean": {p: means(out, p) for p in ("prompt", "ensemble")}}


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


def compared(scores: Mapping[str, Scores], y: NDArray[np.int64], scales: Sequence[float], seed: int) -> dict[str, Any]:
    """Return top-1 of both, the paired gain of the second, and the calibration error of each at its own scale."""
    hits = [s.argmax(1) == y for s in scores.values()]
    errors = [
        expected_calibration_error(softmax(scale * s.astype(np.float64), axis=1), y)
        for s, scale in zip(scores.values(), scales, strict=True)
    ]
    return {
        **{name: float(h.mean()) for name, h in zip(scores, hits, strict=True)},
        "gain": asdict(paired_bootstrap(hits[1], hits[0], seed)),
        "calibration_error": dict(zip(scores, errors, strict=True)),
    }


def means(rows: Mapping[str, Any], prompting: str) -> dict[str, Any]:
    """Return means over the seven rows, and over the four sets with the domains of PACS as one."""
    out: dict[str, Any] = {}
    for key in SHARES:
        seven = {title: row[prompting][key] for title, row in rows.items() if key in row[prompting]}
        if seven:
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
    parser.add_argument("names", nargs="*", default=["lite:2026-11", "lite"], help="the reference, and another lite")
    parser.add_argument("--small", action="store_true", help="the small sets; the large ones have more photos")
    parser.add_argument("--data", type=Path, required=True, help="folder of the development sets")
    parser.add_argument("--out", type=Path, help="result")
    options = parser.parse_args(words)
    reference, other = options.names
    rows = ROWS if options.small else LARGE_ROWS
    command = " ".join(
        ["python -m recipes.lite_tower_judge", reference, other, *(["--small"] if options.small else [])]
    )
    result = {**judge(options.data, (reference, other), rows), "weights": load_lite(other).image.fingerprint,
             "command": command, "date": now(), "versions": versions()}  # fmt: skip
    text = json.dumps(result, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
