"""Proofs of detectors: what the seed decides is measured under every seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import Run
from diptych.evaluation.arms import Arm
from proofs.detect import open_bench
from tests.support.dense_colours import DenseColours
from tests.support.scratches import scratched_folder


@pytest.mark.parametrize(("slug", "row"), [("patch-memory", "one"), ("feature-memory", ""), ("gaussian", "")])
def test_a_system_is_fitted_once_a_seed_where_the_seed_decides_what_it_remembers(
    slug: str, row: str, tmp_path: Path
) -> None:
    bench = open_bench(str(scratched_folder(tmp_path / "plate", good=4, bad=4)), DenseColours(), Run(), (1, 2, 3))
    measured = bench.measure(Arm(slug, row))
    assert measured.values.shape == (3, 8, 2)
    assert measured.seeds == ((1,) if slug == "gaussian" else (1, 2, 3))
    assert (len(np.unique(measured.values, axis=0)) > 1) == (slug == "patch-memory"), "few cells are all remembered"
