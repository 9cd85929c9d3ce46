from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from diptych.core import Column, DataError, Row, Run, Table, Texts
from diptych.train.batches import open_source
from diptych.train.pair import drawn_caption
from diptych.train.row_captions import RowCaptions
from diptych.train.schedule import Fit
from tests.train.test_streams import Pairs

PROMPTS = (("a photo of a cat.", "a drawing of a cat."), ("a photo of a dog.",))


def test_own_captions_come_before_prompts() -> None:
    g = torch.Generator().manual_seed(0)
    captions = RowCaptions(PROMPTS)
    assert captions.of(Row(None, 0, "k", {"captions": ("sits", "sleeps"), "label": 1})) == ["sits", "sleeps"]
    assert captions.of(Row(None, 0, "k", {"captions": "sits"})) == ["sits"]
    assert captions.one(Row(None, 0, "k", {"captions": (), "label": 1}), g) == "a photo of a dog."


def test_captions_are_drawn_without_repeats_as_long_as_there_are_others() -> None:
    g, row = torch.Generator().manual_seed(0), Row(None, 0, "k", {"captions": ("a", "b", "c")})
    draws = [RowCaptions().drawn(row, g, 2) for _ in range(200)]
    assert all(len(set(d)) == 2 for d in draws)
    assert {d[0] for d in draws} == {"a", "b", "c"}
    assert sorted(RowCaptions().drawn(row, g, 7)) in (sorted("abcabc" + c) for c in "abc")


def test_a_row_without_any_is_named() -> None:
    with pytest.raises(DataError, match="Row 4 has no captions"):
        RowCaptions().of(Row(None, 4, "k", {"label": 1}))
    with pytest.raises(DataError, match="Row 4 has no captions"):
        RowCaptions(PROMPTS).of(Row(None, 4, "k", {"captions": ()}))


WEIGHED = {"captions": ("a", "b", "c"), "captions_weights": (0.7, 0.3, 0.0)}


class Drawing(Pairs):
    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        return {"text": drawn_caption(row, g)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_caption_is_drawn_by_its_weight_in_each_epoch_and_the_seed_fixes_it(workers: int) -> None:
    rows = 100
    table = Table(
        Texts(tuple(map(str, range(rows)))),
        {
            "captions": Column("captions", (WEIGHED["captions"],) * rows),
            "captions_weights": Column("weights", (WEIGHED["captions_weights"],) * rows),
        },
    )

    def epochs(seed: int) -> list[list[str]]:
        source = open_source(table, Drawing(), Fit(lr=1.0, epochs=3, batch=100), Run(seed=seed, workers=workers))
        return [[t for _, batch in source.epoch(e, None) for t in batch["text"]] for e in range(3)]

    first = epochs(0)
    assert first == epochs(0)
    assert first != epochs(1)
    assert first[0] != first[1]
    counts = Counter(t for epoch in first for t in epoch)
    assert set(counts) == {"a", "b"}
    assert counts["a"] == pytest.approx(210, abs=35)


def test_several_captions_come_in_the_order_of_their_weights() -> None:
    g, row = torch.Generator().manual_seed(0), Row(None, 0, "k", WEIGHED)
    draws = [RowCaptions().drawn(row, g, 3) for _ in range(500)]
    assert all(set(d) == {"a", "b"} for d in draws)
    assert Counter(d[0] for d in draws)["a"] == pytest.approx(350, abs=45)
    prompts = RowCaptions(PROMPTS).drawn(Row(None, 0, "k", {"captions": (), "captions_weights": (), "label": 0}), g, 2)
    assert set(prompts) == set(PROMPTS[0])
