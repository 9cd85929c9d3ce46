"""Boxes that are named, and a probe on tokens, against cases that are known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import diptych
from diptych.core import Column, PixelRecipe, Run, Texts
from diptych.data.formats.regions import boxes
from diptych.data.scenes.compose import SceneRecipe
from diptych.data.scenes.tables import scene_data
from diptych.evaluation.boards import region_tasks
from diptych.evaluation.boards.region_tasks import (
    CROPS,
    DENSE,
    IGNORED,
    REGIONS,
    SLOTS,
    RegionTasks,
    cell_classes,
    picture_iou,
)
from diptych.features.embed import embed
from diptych.features.frozen import Headed
from diptych.metrics.ratio import share
from diptych.nn.dense.prompter import Prompter
from diptych.nn.dense.region_slots import Slots
from tests.support.colours import ColourBackbone

RECIPE = PixelRecipe(32, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def tasks() -> RegionTasks:
    data = scene_data(SceneRecipe(objects=(1, 2)), {"train": 24, "test": 12})
    return RegionTasks(data.split("train"), data.split("test"))


def test_a_cell_has_the_class_of_the_smallest_box_round_its_centre() -> None:
    both = boxes([[0.0, 0.0, 32.0, 32.0], [0.0, 0.0, 16.0, 16.0]], "xyxy", [3, 7])
    assert cell_classes(both, both.labels, (32, 32), RECIPE, (2, 2)).tolist() == [8, 4, 4, 4]
    crowd = boxes([[0.0, 0.0, 16.0, 32.0]], "xyxy", [3], [True])
    assert cell_classes(crowd, crowd.labels, (32, 32), RECIPE, (2, 2)).tolist() == [IGNORED, 0, IGNORED, 0]


def test_the_iou_of_a_picture_is_the_mean_over_its_own_classes() -> None:
    truth = np.array([0, 0, 1, IGNORED])
    assert picture_iou(truth, truth) == 1
    assert picture_iou(np.array([0, 0, 0, 5]), truth) == pytest.approx((2 / 3 + 0) / 2)
    assert picture_iou(np.zeros(1, int), np.array([IGNORED])) == 1


def test_tiny_names_crops_of_scenes_and_its_tokens_say_more_than_background(tasks: RegionTasks) -> None:
    space = diptych.load("tiny")
    found = tasks.reached(space, {}, Run(workers=1))
    count = sum(len(v.corners) for v in tasks.held.columns["boxes"].values)
    own = [len(v.corners) for v in tasks.held.columns["boxes"].values]
    assert found[CROPS][:, 0].tolist() == own, "the boxes of a picture are one unit"
    assert (found[CROPS][:, 1] <= found[CROPS][:, 0]).all()
    assert len(found[DENSE]) == len(tasks.held)
    assert found[REGIONS] is found[CROPS], "there is no prompter"
    assert share(found[CROPS][None]) > 10 / len(tasks.phrases)
    facts = tasks.facts(space)
    assert found[DENSE].mean() > facts["background_alone"]
    assert (facts["boxes"], facts["names"]) == (count, len(tasks.phrases))


def test_a_prompter_of_the_training_is_told_the_boxes(tasks: RegionTasks) -> None:
    space, told = diptych.load("tiny"), list[Tensor]()

    class Watched(Prompter):
        def boxes(self, cells: Tensor, boxes: Tensor, owner: Tensor) -> Tensor:
            told.append(boxes)
            return super().boxes(cells, boxes, owner)

    with torch.random.fork_rng():
        found = tasks.reached(space, {"prompter": Watched(192, 128)}, Run(workers=1))
    expected = np.concatenate([v.corners for v in tasks.held.columns["boxes"].values]) / 64
    assert sorted(map(tuple, torch.cat(told).tolist())) == sorted(map(tuple, expected.astype(np.float32).tolist()))
    assert found[REGIONS][:, 1].sum() < found[CROPS][:, 1].sum(), "an untrained prompter names nothing"


def test_a_box_is_named_by_the_slot_that_lies_nearest(tasks: RegionTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    space, count = diptych.load("tiny"), 4
    assert SLOTS not in tasks.reached(space, {}, Run(workers=1)), "there are no slots"
    words = embed(space.text, Texts(tasks.phrases), Run(workers=1))
    owned = [
        (torch.from_numpy(own.corners).float() / 64, words[[tasks.phrases.index(p) for p in said]])
        for own, said in zip(*(tasks.held.columns[n].values for n in ("boxes", "phrases")), strict=True)
    ]

    def read(shift: float) -> Callable[..., Slots]:
        def slots(space: Any, x: Any) -> Slots:
            boxes, z = torch.zeros(len(x), count, 4), torch.ones(len(x), count, words.shape[1])
            for i, (own, said) in enumerate(owned):  # in the last places, the first box last
                boxes[i, count - len(own) :], z[i, count - len(own) :] = own.flip(0) + shift, said.flip(0)
            return Slots(z[:, 0], z, boxes)

        return slots

    monkeypatch.setattr(region_tasks, "read_slots", read(0.01))
    found = tasks.reached(space, {}, Run(workers=1))
    assert (found[SLOTS][:, 1] == found[SLOTS][:, 0]).all()
    assert (found[SLOTS][:, 0] == found[CROPS][:, 0]).all()
    monkeypatch.setattr(region_tasks, "read_slots", read(2.0))  # none lies near: the first one names all
    assert tasks.reached(space, {}, Run(workers=1))[SLOTS][:, 1].sum() < len(tasks.held)


def test_phrases_stand_in_for_classes_where_a_box_has_none(tasks: RegionTasks) -> None:
    def unlabelled(table):
        values = [v._replace(labels=np.full(len(v.corners), -1)) for v in table.columns["boxes"].values]
        return type(table)(table.items, {**table.columns, "boxes": Column("boxes", tuple(values))})

    plain = RegionTasks(unlabelled(tasks.train), unlabelled(tasks.held))
    first = plain.held.columns["phrases"].values[0]
    assert [plain.phrases[k] for k in plain._classes(plain.held)[0]] == list(first)


def test_a_space_without_maps_has_no_probe(tasks: RegionTasks) -> None:
    found = tasks.reached(ColourBackbone(), {}, Run(workers=1))
    assert DENSE not in found
    assert "background_alone" not in tasks.facts(ColourBackbone())


def test_heads_on_stored_trunks_are_measured_on_the_whole_backbone(tasks: RegionTasks) -> None:
    space = diptych.load("tiny")
    whole, headed = (tasks.reached(s, {}, Run(workers=1)) for s in (space, Headed(space)))
    assert sorted(whole) == sorted(headed) == sorted((CROPS, REGIONS, DENSE))
    assert all((whole[part] == headed[part]).all() for part in whole)
    assert tasks.facts(Headed(space)) == tasks.facts(space)
    turned = copy.deepcopy(space.module())
    with torch.no_grad():
        turned.visual.proj.neg_()
    trained = Headed(space).rebuild(turned, space.spec)
    found = tasks.reached(trained, {}, Run(workers=1))
    assert found[CROPS].mean() < whole[CROPS].mean(), "the heads of the training are measured"
    assert (found[DENSE] == whole[DENSE]).all(), "tokens are before the heads"
