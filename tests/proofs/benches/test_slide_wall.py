from __future__ import annotations

import numpy as np
from PIL import Image

from diptych.core import Run
from diptych.evaluation.arms import Arm
from proofs.benches.slide_wall import BY_WORDS, COMMON, COVERAGE, FEW, RANDOM, RARE, WallBench
from tests.support.backbone import SmallBackbone


def test_arms_pick_equally_many_tiles_of_a_wall_of_the_right_size() -> None:
    labels = np.repeat(np.arange(COMMON + RARE), 4)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 3)).astype(np.uint8)
    names = [f"kind {k}" for k in range(COMMON + RARE)]
    bench = WallBench(SmallBackbone(), Run(), (1, 2), [Image.fromarray(p) for p in pixels], labels, names, {})
    wall = bench.wall(Run(seed=1))
    assert len(wall) == COMMON * 4 + RARE * FEW
    assert np.bincount(labels[wall], minlength=COMMON + RARE).tolist() == [4] * COMMON + [FEW] * RARE
    own = bench.measure(Arm("pathgen"))
    assert own.values.shape == (2, RARE * FEW)
    assert own.parts[COVERAGE].values.shape == (2, len(wall))
    counts = [bench.measure(arm).others["picked"] for arm in (Arm("pathgen"), Arm(RANDOM), Arm(BY_WORDS))]
    assert len(set(counts)) == 1
    permuted = bench.measure(Arm("pathgen", spoil="permuted"))
    assert (permuted.values != own.values).any()
