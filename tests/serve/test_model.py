from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from diptych import load
from diptych.api.model import Model
from diptych.core import Run, Texts, UsageError
from diptych.data.labelled import LabelledData, NamedTable
from diptych.data.load import open_data
from diptych.data.memory import InMemory
from diptych.features.unit_rows import unit_rows
from diptych.serve.model import ServedModel, merges
from diptych.tasks.encode.write import encode
from tests.support.colours import ColourBackbone, ColourEncoder

TEXTS = ("a cat", "a photo of a large dog on the road at night", "x", "a cat")


@pytest.fixture(scope="module")
def tiny() -> ServedModel:
    return ServedModel("tiny", load("tiny", engine="torch", cache=False))


def written(folder: Path, kind: str) -> Any:
    return np.load(folder / f"{kind}_emb" / f"{kind}_emb_0.npy")


def test_vectors_are_those_of_the_command_line_bit_for_bit(tiny: ServedModel, tmp_path: Path) -> None:
    photos = open_data("demo:photos", need="photos").whole().items
    run = Run(batch=tiny.run.batch, workers=1)
    encode(LabelledData("x", (), {"test": NamedTable(photos, {}, ())}), tiny.model, run, tmp_path / "a")
    prepared = [tiny.image(photos[i], photos.key(i)) for i in range(len(photos))]
    assert np.array_equal(unit_rows(np.stack(tiny.lanes["image"].run(prepared))), written(tmp_path / "a", "img"))
    encode(Texts(TEXTS), tiny.model, run, tmp_path / "b")
    rows = tiny.lanes["text"].run([tiny.text(text) for text in TEXTS])
    assert np.array_equal(unit_rows(np.stack(rows)), written(tmp_path / "b", "text"))


def test_where_lanes_merge_batch_mates_change_no_bit(tiny: ServedModel) -> None:
    photos = open_data("demo:clothes", need="photos").whole().items
    prepared = [tiny.image(photos[i], photos.key(i)) for i in range(12)]
    lane = tiny.lanes["image"]
    alone = np.stack([lane.run([item])[0] for item in prepared])
    together = np.stack(lane.run(prepared))
    assert np.allclose(alone, together, atol=1e-5)
    if lane.merges:
        assert np.array_equal(alone, together)


def test_a_lane_merges_only_where_no_bit_changes() -> None:
    def steady(values: Sequence[Any]) -> Any:
        return np.array([[v, 1.0] for v in values], dtype=np.float32)

    def by_size(values: Sequence[Any]) -> Any:
        return steady(values) + np.float32(1e-7 * (len(values) == 5))

    probes = list(np.linspace(0.1, 0.9, 37))
    assert merges(steady, probes)
    assert not merges(by_size, probes)


def test_equal_inputs_are_encoded_once_and_nothing_is_written(tmp_path: Path) -> None:
    model = ServedModel("colours", Model(ColourBackbone(), Run(cache=tmp_path / "cache")))
    picture = Image.new("RGB", (8, 8), "red")
    item = model.image(picture, hashlib.sha256(b"red").hexdigest())
    before = InMemory([picture]).key(0)
    rows = model.lanes["image"].run([item, item])
    assert np.array_equal(rows[0], rows[1])
    assert not (tmp_path / "cache").exists()
    assert InMemory([picture]).key(0) == before


class WidthEncoder(ColourEncoder):
    """Texts as a token a word, whose vectors depend on the width to which the batch is padded."""

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        width = max(len(text.split()) for text in items)
        rows = [[float(len(word)) for word in text.split()] for text in items]
        return torch.tensor([row + [0.0] * (width - len(row)) for row in rows])

    def encode(self, x: Any, /) -> Tensor:
        return torch.stack([x.sum(1), x.amax(1), x[:, 0], x.new_full((len(x),), x.shape[1])], dim=1)


class WidthBackbone(ColourBackbone):
    @property
    def encoders(self) -> Mapping[str, Any]:
        return {**super().encoders, "text": WidthEncoder("text", None)}


def test_texts_of_equal_length_share_batches_where_padding_changes_bits() -> None:
    model = ServedModel("width", Model(WidthBackbone(), Run()))
    assert model.sharing == {"image": "all", "text": "equal_lengths"}
    two, other, three = model.text("red car"), model.text("a house"), model.text("a red car")
    shared = model.lane("text", [two])
    assert shared.merges
    assert model.lane("text", [other]) is shared
    assert model.lane("text", [three]) is not shared
    alone = [shared.run([item])[0] for item in (two, other)]
    assert np.array_equal(shared.run([two, other]), alone)
    assert not model.lane("text", [two, three]).merges, "a request of several lengths is a batch of its own"
    assert not model.lane("text", [model.text("a " * 21)]).merges, "longer than the texts that were compared"
    assert model.lane("image", [model.image(Image.new("RGB", (8, 8)), "x")]).merges


def test_a_text_that_is_too_long_is_refused_before_it_joins_a_batch(tiny: ServedModel) -> None:
    with pytest.raises(UsageError, match="tokens and this model reads"):
        tiny.text("word " * 500)
