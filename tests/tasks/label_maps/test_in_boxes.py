from __future__ import annotations

import numpy as np
from PIL import Image

from diptych.tasks.label_maps.in_boxes import in_boxes
from diptych.tasks.label_maps.segmented import Segmented

CLASSES = ("background", "cat", "dog")


def photo(labels: list[list[int]]) -> Segmented:
    values = np.array(labels, dtype=np.uint8)
    return Segmented("a", Image.new("RGB", values.shape[::-1]), values, CLASSES)


def boxes(*corners: tuple[float, ...]) -> np.ndarray:
    return np.array(corners, np.float32)


def test_each_box_is_one_object_of_its_most_frequent_class() -> None:
    item = photo([[0, 0, 1, 1], [0, 1, 1, 2], [2, 2, 2, 2]])
    made = in_boxes(item, boxes((0, 0, 4, 2), (0, 2, 2, 3)), ("thing", "thing"))
    assert made.labels.tolist() == [[0, 0, 1, 1], [0, 1, 1, 2], [2, 2, 255, 255]]
    found = [(s["label"], s["area"], s["bbox"]) for s in made.segments()]
    assert found == [("cat", 4, [0, 0, 4, 2]), ("dog", 2, [0, 2, 2, 1])]
    assert made.instance_map().tolist() == [[0, 0, 1, 1], [0, 1, 1, 0], [2, 2, 0, 0]]


def test_a_phrase_names_the_class_and_the_smaller_box_has_shared_pixels() -> None:
    item = photo([[1, 1, 2, 2], [1, 1, 2, 2]])
    made = in_boxes(item, boxes((1, 0, 3, 2), (0, 0, 4, 2)), ("a cat", "a cat"))
    assert [(s["label"], s["area"]) for s in made.segments()] == [("cat", 2), ("cat", 2)]
    assert made.instance_map().tolist() == [[1, 2, 0, 0], [1, 2, 0, 0]]
    dogs = in_boxes(item, boxes((0, 0, 2, 2)), ("dog",))
    assert dogs.segments() == [], "no pixel of this box is a dog"


def test_the_part_of_a_box_outside_of_the_photo_does_not_count() -> None:
    made = in_boxes(photo([[1, 1], [1, 1]]), boxes((-2.0, 0.5, 9.0, 9.0)), ("thing",))
    assert made.segments()[0]["bbox"] == [0, 0, 2, 2]
