from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

from diptych.core import Run, UnreadableItem, UsageError
from diptych.features.pair_cosines import pair_cosines
from tests.support.backbone import SmallBackbone
from tests.support.pictures import picture


@dataclass(frozen=True)
class Pair:
    number: int

    @property
    def name(self) -> str:
        return f"{self.number}.png"

    def image(self) -> Image.Image:
        if self.number == 1:
            raise UnreadableItem(self.name, "truncated")
        return picture(self.number, self.number)

    def text(self) -> str:
        if self.number == 2:
            raise UnreadableItem("2.txt", "is not UTF-8 text")
        return f"word{self.number}"


class Pairs:
    def __iter__(self) -> Iterator[tuple[int, Pair]]:
        return ((10 + i, Pair(i)) for i in range(4))

    def seek(self, position: int) -> Pairs:
        return self


def test_each_pair_has_a_cosine_or_the_reason_why_not() -> None:
    backbone = SmallBackbone()
    (some,) = pair_cosines(backbone, Pairs(), "a-filter", Run())
    assert [*zip(some.block.positions.tolist(), some.block.names, strict=True)] == [
        (10 + i, f"{i}.png") for i in range(4)
    ]
    assert dict(some.reasons) == {1: "truncated", 2: "is not UTF-8 text"}
    assert [math.isnan(cosine) for cosine in some.scores.tolist()] == [False, True, True, False]
    with torch.no_grad():
        z = backbone.image.encode(backbone.image.inputs([Pair(3).image()]))
        t = backbone.text.encode(backbone.text.inputs([Pair(3).text()]))
    assert float(some.scores[3]) == pytest.approx(float(cosine_similarity(z, t)[0]), abs=1e-5)


def test_texts_alone_are_refused_in_the_name_of_the_system() -> None:
    class Words(Pairs):
        def __iter__(self) -> Iterator[tuple[int, Pair]]:
            return iter([(0, "a text")])  # type: ignore[list-item]

    with pytest.raises(UsageError, match="a-filter compares images with texts"):
        next(pair_cosines(SmallBackbone(), Words(), "a-filter", Run()))
