from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import ClassNames, Column, DataError, Evidence, MissingEvidence, Row, Table
from diptych.data.labelled import LabelledData, NamedTable
from diptych.nn.dense.mask_training import check_labels, crop_view, labels_of, seen_classes, trained_on
from tests.support.pictures import Pictures

NAMES = ClassNames(("cat", "red barn"), ("a {}.",))


def table() -> Table[Image.Image]:
    mask = Column("mask", (np.zeros((40, 60), np.uint8),))
    return Table(Pictures((Image.new("RGB", (60, 40)),)), {"mask": mask})


def graded() -> Row:
    """A photo whose red and green are its column and row, with the same numbers in its labels."""
    rows, columns = np.mgrid[0:40, 0:60].astype(np.uint8)
    image = Image.fromarray(np.stack([4 * columns, 4 * rows, rows * 0], axis=-1))
    return Row(image, 0, "photo", {"panoptic": np.stack([columns, rows], axis=-1).astype(np.int32)})


@pytest.mark.parametrize("seed", range(4))
def test_pixels_and_labels_of_a_crop_belong_together(seed: int) -> None:
    found = crop_view(graded(), torch.Generator().manual_seed(seed), 32, 2.0)
    pixels, labels = found["pixels"], found["labels"]
    assert (pixels.shape, labels.shape, labels.dtype) == ((3, 32, 32), (2, 32, 32), torch.int64)
    for channel in (0, 1):
        assert float((pixels[channel] * 255 / 4 - labels[channel]).abs().max()) < 1.5
    span = labels.flatten(1).amax(1) - labels.flatten(1).amin(1)
    assert 19 <= int(span[0]) <= 39
    assert abs(int(span[0] - span[1])) <= 1  # a square


def test_crops_follow_the_generator_and_are_mirrored_at_times() -> None:
    def one(seed: int) -> torch.Tensor:
        return crop_view(graded(), torch.Generator().manual_seed(seed), 16, 2.0)["labels"]

    assert torch.equal(one(1), one(1))
    left_to_right = {bool(one(s)[0, 0, 0] < one(s)[0, 0, -1]) for s in range(12)}
    assert left_to_right == {True, False}


def test_a_mask_of_another_size_is_named() -> None:
    row = Row(Image.new("RGB", (60, 40)), 0, "odd.png", {"mask": np.zeros((40, 50), np.uint8)})
    with pytest.raises(DataError, match=r"odd\.png"):
        crop_view(row, torch.Generator(), 16, 1.0)


def test_masks_number_no_segments_and_panoptic_maps_do() -> None:
    assert labels_of(Row(None, 0, "", {"mask": np.array([[3, 255]])})).tolist() == [[[3, 65535]], [[0, 0]]]
    wide = np.array([[255, 65535]], np.uint16)
    assert labels_of(Row(None, 0, "", {"mask": wide})).tolist() == [[[255, 65535]], [[0, 0]]]
    pairs = np.array([[[3, 7], [255, 0]]])
    assert labels_of(Row(None, 0, "", {"panoptic": pairs})).tolist() == [[[3, 65535]], [[7, 0]]]


def test_a_table_that_knows_its_classes_names_the_training() -> None:
    assert trained_on(Evidence(train=table()), NAMES)[1] is NAMES
    data = LabelledData("d", ("sea_horse", "dog"), {"train": table()}, words=(("sea_horse", "fish"), ("dog",)))
    trained = trained_on(Evidence(train=data["train"].take([0])), NAMES)[1]
    assert trained.names == ("sea horse", "dog")
    assert trained.words == (("sea horse", "fish"), ("dog",))
    assert trained.templates == NAMES.templates
    assert seen_classes(ClassNames(("animal", "lion"), words=(("Fish", "cat"), ("lion",))), trained) == (True, False)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(MissingEvidence, match="label maps"):
        trained_on(Evidence(), NAMES)
    bare: Table[Image.Image] = Table(table().items)
    for wrong in (bare, table().take([]), NamedTable(bare.items, {}, ("a",))):
        with pytest.raises(DataError, match="no masks"):
            trained_on(Evidence(train=wrong), NAMES)


def test_a_label_outside_the_classes_is_named() -> None:
    labels = torch.tensor([[[[0, 1, 65535]], [[0, 0, 0]]]])
    check_labels(labels, 2)
    with pytest.raises(DataError, match="label 1, and there are 1 classes"):
        check_labels(labels, 1)
