"""What words for normal and damaged states see of each kind of defect: image AUROC of ``winclip-style`` on ``lite``.

    python -m benchmarks.state_words textile_sim object,textile,fabric

A row is one word for what the photos show and one set of prompts; columns are all anomalous photos, and those of each
kind, against the same normal test photos. Windows do not enter: the score of a photo is that of the whole photo.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from diptych.backbones.sources.load import load
from diptych.core.data import Evidence
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.evaluation.datasets import open_set
from diptych.methods.detect.winclip_style import WinCLIPStyle, Words
from diptych.metrics.detection import auroc

WORDS: tuple[Words, ...] = ("ensemble", "pair")


def main(name: str, things: Sequence[str]) -> None:
    """Print a row a word and set of prompts."""
    backbone, run = load("lite"), Run()
    test = open_set(name, "anomalies").split("test")
    bad, kinds = test.labels() != 0, np.array([str(g) for g in test.columns["group"].values])
    columns = {"all": bad, **{kind: bad & (kinds == kind) for kind in sorted(set(kinds[bad]))}}
    sys.stdout.write(f"{'thing':15} {'prompts':9}" + "".join(f"{kind:>10}" for kind in columns) + "\n")
    for thing in things:
        for words in WORDS:
            method = WinCLIPStyle(thing, words=words, scales=())
            fitted = method.fit(Kit.of(backbone), Evidence(), run)
            scores = np.array([anomaly.score for anomaly in fitted.detect(test.items, run)])
            shown = [auroc(scores[chosen | ~bad], bad[chosen | ~bad]) for chosen in columns.values()]
            sys.stdout.write(f"{thing:15} {words:9}" + "".join(f"{value:10.3f}" for value in shown) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","))
