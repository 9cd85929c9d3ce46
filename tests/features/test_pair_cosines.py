from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

from diptych.core import Run, UnreadableItem, UsageError
from diptych.data.formats.parquet_pairs import open_parquet_pairs
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


@dataclass(frozen=True)
class Silent(Pair):
    def text(self) -> str:
        return " " if self.number else "word"


@pytest.mark.parametrize("first", [0, 2])
def test_a_pair_without_a_text_has_no_cosine(first: int) -> None:
    class Some(Pairs):
        def __iter__(self) -> Iterator[tuple[int, Pair]]:
            return ((i, Silent(i)) for i in range(first, 4))

    (some,) = pair_cosines(SmallBackbone(), Some(), "a-filter", Run())
    wanted = {0: "", 1: "truncated", 2: "has no text", 3: "has no text"}
    reasons = [wanted[i] for i in range(first, 4)]
    assert [some.reasons.get(i, "") for i in range(4 - first)] == reasons
    assert [math.isnan(cosine) for cosine in some.scores.tolist()] == [bool(reason) for reason in reasons]


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


def test_a_pass_over_a_known_pool_reads_the_cosines_of_the_pass_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.data.formats.parquet_columns.ROWS", 16)
    monkeypatch.setattr("diptych.features.pool_vectors.TOGETHER", 3)
    backbone, path = SmallBackbone(), tmp_path / "pool.parquet"

    def write(changed: bool = False) -> None:
        pictures = [png(i % 5, i % 40) for i in range(130)]
        texts = [f"word{i % 7}{' again' if changed and i == 20 else ''}" for i in range(130)]
        pq.write_table(pa.table({"image": pictures, "caption": texts}), path)

    def scored() -> tuple[list[float], int, int]:
        run = Run(cache=tmp_path / "cache")
        parts = [*pair_cosines(backbone, open_parquet_pairs(path), "a-filter", run)]
        assert all(not part.reasons for part in parts)
        scores = [float(score) for part in parts for score in part.scores]
        return scores, run.tally["encoded"], run.tally["cached"] + run.tally["encoded"]

    def unread(*_: object) -> None:
        raise AssertionError("a vector is looked up")

    write()
    first, encoded, counted = scored()
    assert encoded > 0
    with monkeypatch.context() as blind:
        blind.setattr("diptych.store.store.Store.get", unread)
        blind.setattr("diptych.store.store.Store.placed", unread)
        assert scored() == (first, 0, counted)
    notes = [file for file in (tmp_path / "cache").glob("*/pools/*.json") if b'"numbers"' in file.read_bytes()]
    assert len(notes) == 3, "nine blocks, three a file"
    notes[0].write_bytes(b"torn")
    assert scored() == (first, 0, counted)
    write(changed=True)
    again, _, _ = scored()
    assert [at for at, (a, b) in enumerate(zip(first, again, strict=True)) if a != pytest.approx(b, abs=1e-6)] == [20]


def png(number: int, shade: int) -> bytes:
    content = io.BytesIO()
    picture(number, shade).save(content, "PNG")
    return content.getvalue()
