"""The bench of regions on few scenes, and photos with people's boxes: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import Column, NotAvailable, Run, UsageError
from diptych.data.formats.regions import boxes
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.boards.tune import Training
from diptych.methods.pretrain.cloc import CLOC
from proofs.benches.training import region_pairs
from proofs.benches.training.region_pairs import (
    CROP,
    FIT,
    IOU,
    PICTURE,
    PLACELESS,
    AlignedCLOC,
    Elsewhere,
    UntoldCLOC,
    next_in_picture,
    open_regions,
    permuted_boxes,
)
from tests.train.test_pair import small, squares

RUN, SEEDS = Run(workers=1), (1, 2)


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(region_pairs, "SIZES", {"train": 12, "test": 5})
        made = open_regions("scenes", small(), RUN, SEEDS)
    made.fit = replace(FIT, batch=4, steps=2)
    return made


def test_arms_name_the_same_regions(bench) -> None:
    n = bench.facts["items"]
    assert 10 <= n <= 15
    for arm in (CHANCE, PICTURE, CROP, PLACELESS):
        found = bench.measure(Arm(arm)).values
        assert (found.shape, found[..., 0].sum(1).tolist()) == ((2, 5, 2), [n, n])
    for method in (CLOC(), UntoldCLOC(), AlignedCLOC()):
        found = bench.measure(Arm(Training(method)))
        assert found.values.shape == found.part(IOU).values.shape == (2, 5, 2)
    with pytest.raises(UsageError, match="not named by 'guess'"):
        bench.measure(Arm("guess"))
    with pytest.raises(NotAvailable, match="paints scenes"):
        open_regions("photos", small(), RUN, SEEDS)


def test_another_box_of_the_picture_is_told_to_the_same_prompter(bench) -> None:
    order = next_in_picture(torch.tensor([0, 0, 0, 1, 2, 2]))
    assert order.tolist() == [1, 2, 0, 3, 5, 4]
    how = Training(CLOC())
    bench.measure(Arm(how))
    trained = len(bench.trainings)
    assert bench.measure(Arm(Elsewhere(how))).values.shape == (2, 5, 2)
    assert len(bench.trainings) == trained
    untold = Training(UntoldCLOC())  # what does not read the place answers the same, wherever it is asked
    here, elsewhere = (bench.measure(Arm(arm)).values for arm in (untold, Elsewhere(untold)))
    assert np.array_equal(here, elsewhere)


def test_names_without_places_are_right_for_one_region_of_a_picture(bench) -> None:
    found = bench.measure(Arm(PLACELESS)).values[0]
    distinct = [
        len({p for p, own in zip(bench.phrases, bench.owner.tolist(), strict=True) if own == i}) for i in range(5)
    ]
    assert (found[:, 0] >= 2).all()
    np.testing.assert_allclose(found[:, 1][np.array(distinct) == found[:, 0]], 1)
    assert (found[:, 1] <= found[:, 0]).all()


def test_twins_that_are_not_told_the_box_do_not_read_it(bench) -> None:
    cells, owner = torch.randn(1, 12, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0])
    places = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    one, two = UntoldCLOC().prompter(12, 6).boxes(cells, places, owner)
    assert torch.equal(one, two)
    aligned = AlignedCLOC().prompter(12, 6)
    corner = aligned.boxes(cells, places, owner)[0]
    assert not torch.equal(*aligned.boxes(cells, places, owner))
    changed = cells.clone()
    changed[..., 3, 3] += 100  # outside the first box
    torch.testing.assert_close(aligned.boxes(changed, places, owner)[0], corner)


def test_permuted_boxes_stay_in_their_pictures() -> None:
    table = squares(30)
    own = [boxes([[0, 0, 1, 1], [1, 1, 2, 2], [i, 0, i + 1, 1]], "xyxy", [0, 1, 2]) for i in range(30)]
    table = replace(table, columns={**table.columns, "boxes": Column("boxes", tuple(own))})
    found = permuted_boxes(table, Run()).columns["boxes"].values
    assert all(np.array_equal(np.sort(a.corners, 0), np.sort(b.corners, 0)) for a, b in zip(own, found, strict=True))
    assert any(not np.array_equal(a.corners, b.corners) for a, b in zip(own, found, strict=True))
