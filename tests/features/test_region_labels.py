"""Labels of regions, with a backbone that knows colours and a proposer that knows halves."""

from __future__ import annotations

import torch
from PIL import Image

from diptych.core.data import Column, Table, Text
from diptych.core.masks import Proposals
from diptych.core.run import Run
from diptych.data.formats.regions import boxes
from diptych.data.memory import InMemory
from diptych.features.region_labels import RegionLabels, agreement
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.refused import refused


class Halves:
    fingerprint = "halves"

    def propose(self, image, words=(), /):
        masks = torch.zeros(4, 4, 4)
        masks[0] = 1
        masks[1, :, :2] = 1
        masks[2, :, 2:] = 1
        return Proposals(masks, torch.ones(4), (image.height, image.width))


class Colourist:
    def write(self, asks):
        names = {rgb: name for name, rgb in COLOURS.items()}
        return [[Text(names.get(a.image.getpixel((0, 0)), "nothing"))] for a in asks]


def table(captions=(("a red car beside a blue boat", "a lovely day"),)) -> Table:
    picture = Image.new("RGB", (40, 20), COLOURS["red"])
    picture.paste(COLOURS["blue"], (20, 0, 40, 20))
    return Table(InMemory([picture]), {"captions": Column("captions", captions)})


def labelled(rows: Table, writer=None) -> tuple[list, tuple]:
    found = RegionLabels().of(rows, ColourBackbone(), Halves(), Run(), writer)
    return found.columns["boxes"].values[0].corners.tolist(), found.columns["phrases"].values[0]


def test_each_phrase_gets_the_box_that_shows_it_best() -> None:
    assert labelled(table()) == ([[0, 0, 20, 20], [20, 0, 40, 20]], ("red car", "blue boat"))
    assert labelled(table((("a lovely day",),))) == ([], ())


def test_a_captioner_names_the_crops() -> None:
    assert labelled(Table(table().items), Colourist()) == ([[0, 0, 20, 20], [20, 0, 40, 20]], ("red", "blue"))


def test_small_and_equal_boxes_are_left_out() -> None:
    picture = table().items[0]
    assert len(RegionLabels().proposed(picture, Halves())) == 3
    assert len(RegionLabels(least=0.6).proposed(picture, Halves())) == 1
    assert len(RegionLabels(same=0.4).proposed(picture, Halves())) == 1
    assert len(RegionLabels(most=2).proposed(picture, Halves())) == 2
    refused(RegionLabels, {"most": 0}, {"least": 2.0}, {"same": -1.0}, {"margin": 3.0})


def test_agreement_with_instances() -> None:
    own = [boxes([[0, 0, 20, 20]], "xyxy", [0])]
    found = agreement(RegionLabels().of(table(), ColourBackbone(), Halves(), Run()), own, ("car", "boat"))
    assert {name: values.tolist() for name, values in found.items()} == {
        "right": [1.0, 0.0],
        "iou": [1.0, 0.0],
        "present": [1.0, 0.0],
    }
    plural = table((("red cars",),))
    assert len(agreement(RegionLabels().of(plural, ColourBackbone(), Halves(), Run()), own, ("car",))["right"]) == 1
