from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diptych.core import Column, DataError, Run, Table, UnreadableItem
from diptych.data.labelled import LabelledData
from diptych.tasks.audit.data import gathered
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture, table

OWN = LabelledData(
    "own", ("oak_tree", "red_fox", "tea_cup"), {"test": table([0, 1, 2] * 4, 1), "train": table([0, 1], 2)}
)
NAMES = ("oak tree", "red fox", "tea cup")


class Torn(Pictures):
    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise UnreadableItem(self.name(index), "torn")
        return super().__getitem__(index)


def test_shifts_are_mapped_by_the_names_of_classes() -> None:
    elsewhere = LabelledData("elsewhere", ("tea cup", "oak_tree"), {"test": table([0, 1, 1], 3)})
    data, failed = gathered(OWN, NAMES, SmallBackbone(), Run(), shifts={"there": elsewhere})
    assert failed == ()
    assert [(name, p.role, len(p.table)) for name, p in data.probes.items()] == [
        ("own", "id", 12),
        ("own, train", "train", 2),
        ("there", "shift", 3),
    ]
    shift = data.probes["there"]
    assert shift.named().names == ("oak tree", "tea cup")
    assert [shift.named().names[y] for y in shift.table.labels()] == ["tea cup", "oak tree", "oak tree"]
    assert (
        "label"
        not in gathered(OWN, NAMES, SmallBackbone(), Run(), others={"o": elsewhere})[0].probes["o"].table.columns
    )


def test_a_foreign_class_and_unreadable_items_are_named() -> None:
    wrong = LabelledData("wrong", ("wolf",), {"test": table([0], 3)})
    with pytest.raises(DataError, match=r"wrong has the class 'wolf', which own does not have.*by ood"):
        gathered(OWN, NAMES, SmallBackbone(), Run(), shifts={"wrong": wrong})
    torn = Torn(tuple(picture(0, i) for i in range(3)))
    broken = replace(OWN, splits={"test": Table(torn, {"label": Column("label", np.array([0, 1, 2]))})})
    data, failed = gathered(broken, NAMES, SmallBackbone(), Run())
    assert [e.name for e in failed] == ["picture 1"]
    assert data.one()[1].table.labels().tolist() == [0, 2]
    alone = LabelledData("alone", (), {"test": Table(Torn(torn.images)).take([1])})
    with pytest.raises(DataError, match="No picture of alone can be read"):
        gathered(OWN, NAMES, SmallBackbone(), Run(), others={"alone": alone})


def test_cues_have_classes_of_their_own() -> None:
    two = table([0, 1], 5)
    cues = LabelledData(
        "c",
        ("ice_bear", "wool"),
        {"test": Table(two.items, {**two.columns, "texture": Column("group", ("wool", "ice_bear"))})},
    )
    probe = gathered(OWN, NAMES, SmallBackbone(), Run(), cues={"c": cues})[0].probes["c"]
    assert probe.role == "shift"
    assert probe.named().names == ("ice bear", "wool")
    assert probe.table.columns["texture"].values == ("wool", "ice bear")
