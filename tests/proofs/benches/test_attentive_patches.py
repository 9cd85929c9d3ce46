from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from diptych.core import Run
from diptych.evaluation.arms import Arm
from diptych.evaluation.spoils import as_subclass
from proofs.benches.attentive_patches import Itself, Neighbours, Uniform, open_patches
from proofs.prove import prove
from tests.support.dense_colours import DenseColours, masked_folder


def test_cells_that_smooth_or_are_all_alike_are_the_controls(tmp_path: Path) -> None:
    folder = masked_folder(tmp_path / "maps")
    proof = prove("sclip", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3))
    (found,) = proof.as_dict()["datasets"]
    (claim,) = found["claims"]
    alike, near = found["controls"]
    assert (claim["over"], alike["name"], near["name"]) == ("maskclip", "all alike", "neighbours")
    assert alike["control"]["miou"] < claim["baseline"]["miou"]
    assert alike["gain"] < claim["gain"]
    assert near["failed"] == (near["gain_lower95"] <= 0)
    assert found["beside"] == []
    assert "backbone" not in found


def test_scenes_are_named_by_tiny_at_their_own_size() -> None:
    bench = open_patches("scenes", DenseColours(), Run(), (1, 2, 3), most=2)
    assert bench.facts["backbone"] == "tiny"
    assert bench.facts["items"] == 2
    measured = bench.measure(Arm("sclip"))
    assert measured.values.shape == (3, 2, 12, 12)
    assert np.array_equal(measured.values[0], measured.values[2])
    spoiled = bench.measure(Arm("sclip", spoil=as_subclass(Uniform)))
    assert not np.array_equal(spoiled.values, measured.values)


def test_controls_have_rows_that_sum_to_two_as_well() -> None:
    q, v = torch.rand(1, 2, 4, 3), torch.ones(1, 2, 4, 3)
    for kind in (Uniform, Neighbours, Itself):
        assert torch.equal(kind().attend(q, q, v), 2 * v)


def test_neighbours_are_those_on_the_grid() -> None:
    v = torch.arange(10.0).reshape(1, 1, 10, 1).expand(2, 3, 10, 2)  # a token, and a window of 3 x 3 patches
    got = Neighbours().attend(v, v, v)[1, 2, :, 1] / 2
    assert got.tolist() == [0.0, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0]
