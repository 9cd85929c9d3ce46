"""Labels of regions, with a backbone that knows colours and a proposer that knows halves."""

from __future__ import annotations

import torch
from PIL import Image

from diptych.core import Column, Proposals, Run, Table, Text
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


class Detector:
    fingerprint = "detector"

    def propose(self, image, words=(), /):
        assert words[:2] == ("red car", "blue boat")
        corners = torch.tensor(
            [[0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 1.0, 1.0], [22.0, 1.0, 40.0, 19.0], [20.0, 0, 40, 20]]
        )
        scores, found = torch.tensor([0.9, 0.8, 0.4, 0.3]), torch.tensor([0, 1, 1, 1])
        return Proposals(torch.ones(4, 2, 2), scores, (image.height, image.width), words=found, boxes=corners)


def test_a_detector_is_told_the_phrases_and_its_surest_boxes_count() -> None:
    def told(how: RegionLabels) -> tuple[list, tuple]:
        found = how.of(table(), ColourBackbone(), Detector(), Run())
        return found.columns["boxes"].values[0].corners.tolist(), found.columns["phrases"].values[0]

    assert told(RegionLabels()) == ([[0, 0, 20, 20], [22, 1, 40, 19]], ("red car", "blue boat"))  # the small one is not
    assert told(RegionLabels(sure=0.5)) == ([[0, 0, 20, 20]], ("red car",))


def test_a_photo_whose_captions_name_nothing_is_not_looked_at() -> None:
    found = RegionLabels().of(table((("So.",),)), ColourBackbone(), Detector(), Run())
    assert found.columns["phrases"].values == ((),)


def test_small_and_equal_boxes_are_left_out() -> None:
    picture = table().items[0]
    proposals = Halves().propose(picture)
    assert len(RegionLabels().places(proposals)) == 3
    assert len(RegionLabels(least=0.6).places(proposals)) == 1
    assert len(RegionLabels(same=0.4).places(proposals)) == 1
    assert len(RegionLabels(most=2).places(proposals)) == 2
    refused(RegionLabels, {"most": 0}, {"least": 2.0}, {"same": -1.0}, {"margin": 3.0}, {"sure": 2.0})


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
