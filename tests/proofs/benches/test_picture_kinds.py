from __future__ import annotations

import numpy as np
from PIL import Image

from diptych.core import Run
from diptych.evaluation.arms import CHANCE, Arm
from proofs.benches.picture_kinds import KINDS, WORDS, KindBench, permuted_clusters
from tests.support.colours import COLOURS, ColourBackbone


def bench() -> KindBench:
    kinds = [kind for kind in KINDS for _ in range(12)]
    shades = dict(zip(KINDS, COLOURS.values(), strict=True))
    noise = np.random.default_rng(0).integers(-5, 6, (len(kinds), 24, 24, 3))
    pixels = [np.clip(np.array(shades[k]) + n, 0, 255).astype(np.uint8) for k, n in zip(kinds, noise, strict=True)]
    return KindBench(ColourBackbone(), Run(), (1, 2, 3), [Image.fromarray(p) for p in pixels], kinds, {})


def test_votes_name_colours_and_permuted_votes_do_not() -> None:
    own = bench()
    assert own.measure(Arm("biomedica")).values.mean() == 1.0
    assert own.measure(Arm("biomedica", spoil=permuted_clusters)).values.mean() < 0.8
    assert own.measure(Arm(CHANCE)).values.tolist() == [[0.2] * 60] * 3
    assert own.measure(Arm(WORDS)).values.mean() < 1.0  # the words of the kinds name no colours


def test_every_cluster_has_the_votes_of_one_cluster() -> None:
    votes = [(0, "a"), (0, "a"), (1, "b"), (2, "c"), (2, "c")]
    said = permuted_clusters(votes, Run(seed=1))
    assert [cluster for cluster, _ in said] == [0, 0, 1, 2, 2]
    assert said[0][1] == said[1][1]
    assert {kind for _, kind in said} == {"a", "b", "c"}
