"""What words for normal and damaged states see of each kind of defect: image AUROC of ``winclip-style`` on ``lite``.

    python -m benchmarks.state_words textile_sim object,textile,fabric --out results/state-words.json

A row is one word for what the photos show and one set of prompts; columns are all anomalous photos, and those of each
kind, against the same normal test photos, with 95 % intervals over photos. Windows do not enter: the score of a photo
is that of the whole photo.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diptych.backbones.sources.load import load
from diptych.core import Evidence, Kit, Run
from diptych.data.files import write_json
from diptych.evaluation.datasets import open_set
from diptych.methods.detect.winclip_style import WinCLIPStyle, Words
from diptych.metrics.auroc_intervals import auroc_interval
from diptych.tasks.record import circumstances

WORDS: tuple[Words, ...] = ("ensemble", "pair")


def measure(name: str, things: Sequence[str], data: Path | None = None) -> dict[str, Any]:
    """Return a row a word and set of prompts.

    Args:
        name: of the data set.
        things: words for what the photos show.
        data: folder of the data set; None: that of DIPTYCH_DATA.
    """
    backbone, run = load("lite"), Run()
    test = open_set(name if data is None else str(data / name), "anomalies").split("test")
    bad, kinds = test.labels() != 0, np.array([str(g) for g in test.columns["group"].values])
    columns = {"all": bad, **{kind: bad & (kinds == kind) for kind in sorted(set(kinds[bad]))}}
    rows = []
    for thing in things:
        for words in WORDS:
            fitted = WinCLIPStyle(thing, words=words, scales=()).fit(Kit.of(backbone), Evidence(), run)
            scores = np.array([anomaly.score for anomaly in fitted.detect(test.items, run)])
            results = {}
            for kind, chosen in columns.items():
                kept = chosen | ~bad
                interval = auroc_interval(scores[None, kept], bad[kept])
                results[kind] = {"value": interval.value, "ci95": [interval.low, interval.high]}
            rows.append({"object": thing, "prompts": words, "image_auroc": results})
    about = circumstances(backbone, run, f"python -m benchmarks.state_words {name} {','.join(things)}")
    photos = {kind: int(chosen.sum()) for kind, chosen in columns.items()}
    return {**about, "dataset": name, "normal": int((~bad).sum()), "photos": photos, "rows": rows}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="of MVTec's layout")
    parser.add_argument("things", help="words, with commas")
    parser.add_argument("--out", type=Path, default=Path("out/state-words.json"))
    parser.add_argument("--data", type=Path, help="folder of the data set (default: DIPTYCH_DATA)")
    options = parser.parse_args()
    result = measure(options.dataset, options.things.split(","), options.data)
    write_json(options.out, result, overwrite=True)


if __name__ == "__main__":
    main()
