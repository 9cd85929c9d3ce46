from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from diptych.core import (
    AuditData,
    ClassNames,
    Column,
    DataError,
    Finding,
    Kit,
    MissingPart,
    Run,
    Subject,
    Table,
    UsageError,
)
from diptych.methods.audit.concept_association_bias import (
    ConceptAssociationBias,
    cab_values,
    drawn_pairs,
)
from diptych.metrics.pair_mean import pair_mean
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures

OBJECTS = ("lemon", "tomato", "plum")
HUES = {"yellow": (250, 220, 0), "red": (220, 0, 0), "purple": (120, 0, 160)}
TYPICAL = dict(zip(OBJECTS, HUES, strict=True))
GREYS = (20, 90, 230)


@dataclass(frozen=True)
class BagImage:
    """Reads grey upper halves as objects and coloured lower halves as colours, wherever they are."""

    fingerprint: str = "bag-image"
    modality: str = "image"
    dim: int = 6
    size: int | None = None

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        return torch.stack([torch.tensor(self._concepts(np.asarray(i).astype(int))) for i in items])

    def _concepts(self, pixels: np.ndarray) -> list[float]:
        side = pixels.shape[0] // 2
        found = [0.0] * 6
        for x in (side // 2, side + side // 2):
            upper, lower = pixels[side // 2 + side // 4, x], pixels[side // 2 + 3 * side // 4, x]
            for k, grey in enumerate(GREYS):
                found[k] += float(np.abs(upper - grey).max() < 4)
            for v, hue in enumerate(HUES.values()):
                found[3 + v] += float(np.abs(lower - hue).max() < 4)
        return found

    def encode(self, x: Any, /) -> Tensor:
        return x.clone()


@dataclass(frozen=True)
class BagText:
    association: float
    fingerprint: str = "bag-text"
    modality: str = "text"
    dim: int = 6
    size: int | None = None

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        rows = torch.zeros(len(items), 6)
        for row, text in zip(rows, items, strict=True):
            for k, name in enumerate(OBJECTS):
                if name in text:
                    row[k] += 1
                    row[3 + list(HUES).index(TYPICAL[name])] += self.association
            for v, hue in enumerate(HUES):
                row[3 + v] += float(hue in text)
        return rows

    def encode(self, x: Any, /) -> Tensor:
        return x.clone()


class Bag(SmallBackbone):
    """A bag of concepts whose names bring their typical colour along."""

    def __init__(self, association: float) -> None:
        super().__init__()
        self._bag = {"image": BagImage(), "text": BagText(association, f"bag-text-{association}")}

    @property
    def encoders(self) -> Mapping[str, Any]:
        return self._bag


def fruit(n: int = 30) -> Table[Any]:
    images = []
    for i in range(n):
        pixels = np.empty((40, 40, 3), np.uint8)
        pixels[:20], pixels[20:] = GREYS[i % 3], list(HUES.values())[i % 3]
        pixels[0, 0] = i  # so that no two have one key
        images.append(Image.fromarray(pixels))
    columns = {
        "label": Column("label", np.arange(n) % 3),
        "attribute": Column("group", tuple(TYPICAL[OBJECTS[i % 3]] for i in range(n))),
    }
    return Table(Pictures(tuple(images)), columns)


def audited(backbone: Any, table: Table[Any] | None = None, seed: int = 0) -> Finding:
    data = AuditData.single(table or fruit(), ClassNames(OBJECTS))
    (only,) = ConceptAssociationBias(most=60).audit({"a": Subject.of(backbone)}, data, Run(seed=seed))
    return only


def test_a_bag_of_concepts_with_associations_names_the_other_color_and_one_against_them_does_not() -> None:
    biased = audited(Bag(1.0))
    assert (biased.value, biased.details["p_cab"], biased.details["p_single"]) == (1.0, 1.0, 1.0)
    assert biased.control is not None
    assert biased.control.value == 0.0
    assert biased.control.held
    assert len(biased.examples) == 3
    assert "beside" not in biased.examples[0].note
    bound = audited(Bag(-0.5))
    assert (bound.value, bound.details["p_true"], bound.examples) == (0.0, 1.0, ())
    assert audited(Bag(1.0)) == biased


def test_the_score_counts_answers() -> None:
    rng = np.random.default_rng(0)
    answers, true = rng.integers(4, size=50), rng.integers(4, size=50)
    other = (true + 1) % 4
    p_true, p_cab = (answers == true).mean(), (answers == other).mean()
    assert cab_values(answers, true, other).mean() == pytest.approx((p_cab - p_true + 1) / 2)


def test_pairs_differ_in_class_and_attribute() -> None:
    labels, attributes = np.arange(40) % 4, np.arange(40) % 2
    pairs = drawn_pairs(attributes, labels, 70, np.random.default_rng(0))
    assert pairs.shape == (70, 2)
    assert len({tuple(p) for p in pairs.tolist()}) == 70
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    assert (attributes[pairs[:, 0]] != attributes[pairs[:, 1]]).all()
    assert drawn_pairs(np.zeros(9, int), labels[:9], 5, np.random.default_rng(0)).shape == (0, 2)


def test_all_pairs_can_be_drawn_and_each_is_as_likely() -> None:
    """Of 500 pictures of one class and 1 of another there are 1,000 pairs, and a random two is one of 250."""
    labels = np.array([0] * 500 + [1])
    assert drawn_pairs(labels, labels, 300, np.random.default_rng(0)).shape == (300, 2)
    every = drawn_pairs(labels, labels, 5000, np.random.default_rng(0))
    assert len({tuple(p) for p in every.tolist()}) == 1000
    assert ((every == 500).sum(axis=1) == 1).all()
    labels, attributes = np.array([0, 0, 1, 2, 2, 3]), np.array([0, 1, 1, 0, 2, 0])
    right = {(i, j) for i in range(6) for j in range(6) if labels[i] != labels[j] and attributes[i] != attributes[j]}
    counts = dict.fromkeys(right, 0)
    for seed in range(2000):
        for one, two in drawn_pairs(attributes, labels, 4, np.random.default_rng(seed)).tolist():
            counts[one, two] += 1
    assert min(counts.values()) > 0.8 * 8000 / len(right)
    assert max(counts.values()) < 1.2 * 8000 / len(right)


def test_the_interval_is_over_pictures() -> None:
    """Every answer about one half of the pictures is right, every other wrong: pairs add nothing to 30 pictures."""
    biased = audited(Bag(1.0))
    assert biased.joined is not None
    assert len(biased.joined) == biased.count == 60
    table, hues = fruit(60), list(HUES)
    words = [TYPICAL[OBJECTS[i % 3]] if i % 12 else hues[(i + 1) % 3] for i in range(60)]
    some = Table(table.items, {**table.columns, "attribute": Column("group", tuple(words))})
    report = audited(Bag(1.0), some)
    assert report.units is not None
    assert report.joined is not None
    ends = pair_mean(report.units, report.joined)
    assert report.interval == (max(0.0, ends.low), min(1.0, ends.high))


def test_a_picture_of_several_pairs_is_one_answer() -> None:
    """Half of 12 answers are right, which a guess among three attains with a probability of 0.18."""
    table, hues = fruit(12), list(HUES)
    words = [TYPICAL[OBJECTS[i % 3]] if i < 6 else hues[(i + 1) % 3] for i in range(12)]
    half = Table(table.items, {**table.columns, "attribute": Column("group", tuple(words))})
    assert audited(Bag(1.0), half).reason.startswith("6 of 12 answers are right")


def test_what_cannot_be_tested_says_why() -> None:
    assert "not above chance" in audited(SmallBackbone()).reason
    table = fruit()
    same = Table(table.items, {**table.columns, "attribute": Column("group", ("red",) * 30)})
    assert audited(Bag(1.0), same).reason.startswith("0 pairs of pictures")
    with pytest.raises(DataError, match="no column 'attribute'"):
        audited(Bag(1.0), Table(table.items, {"label": table.columns["label"]}))
    with pytest.raises(DataError, match="exactly one"):
        ConceptAssociationBias().audit({"a": Subject.of(Bag(1.0))}, AuditData(), Run())
    with pytest.raises(MissingPart):
        ConceptAssociationBias().audit({"a": Subject(Kit())}, AuditData.single(table, ClassNames(OBJECTS)), Run())
    with pytest.raises(UsageError, match="no model"):
        ConceptAssociationBias().audit({}, AuditData(), Run())
    with pytest.raises(UsageError, match="most"):
        ConceptAssociationBias(most=19)
    with pytest.raises(UsageError, match="template must hold"):
        ConceptAssociationBias(template="a {object}")
