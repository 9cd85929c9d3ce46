"""A model is a backbone like any other, and encodes photos and texts in one call."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diptych
from diptych.api.model import Model
from diptych.core import Backbone, DataError, Kit, MissingHook, UnreadableItem, UsageError
from diptych.core.guesses import GUESSES
from tests.support.colours import COLOURS, ColourBackbone

RED = np.full((8, 8, 3), COLOURS["red"], np.uint8)


def test_it_is_a_backbone_and_delegates(model: Model) -> None:
    assert isinstance(model, Backbone)
    assert Kit.of(model).need(Backbone) is model
    inner = ColourBackbone()
    assert (model.fingerprint, model.spec, model.activation) == (inner.fingerprint, inner.spec, inner.score)
    assert [float(t) for t in model.scale()] == [10.0, 0.0]
    assert isinstance(model.unwrapped, ColourBackbone)
    assert repr(model) == "Model('colours', 4 dimensions, 8 px, cpu)"
    for asked in (lambda: model.tower("image"), model.dense, lambda: model.rebuild(model.module(), model.spec)):
        with pytest.raises(MissingHook, match="colours"):
            asked()


def test_every_member_of_a_backbone_is_delegated() -> None:
    open_to = {n for n in dir(Backbone) if not n.startswith("_")} - {"image", "text", "of_parts"}
    assert open_to <= set(vars(Model))


def test_vectors_are_unit_rows_unless_asked_otherwise(model: Model) -> None:
    unit, raw = model.encode_image([RED, RED // 2]), model.encode_image([RED, RED // 2], normalize=False)
    assert (unit.shape, unit.dtype) == ((2, 4), np.float32)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, rtol=1e-6)
    expected = ColourBackbone().image.encode(
        ColourBackbone().image.inputs([torch.from_numpy(RED).permute(2, 0, 1) / 255])
    )
    np.testing.assert_allclose(raw[:1], expected.numpy(), rtol=1e-5)


def test_texts_and_cosines(model: Model) -> None:
    assert model.encode_text("a red thing").shape == (1, 4)
    cosines = model.similarity(RED, ["red", "blue"])
    assert cosines.shape == (1, 2)
    assert cosines[0, 0] > cosines[0, 1]
    np.testing.assert_allclose(cosines, model.encode_image(RED) @ model.encode_text(["red", "blue"]).T)


def test_pixels_and_tokens_are_those_of_the_encoders(model: Model) -> None:
    assert torch.equal(model.preprocess(RED), model.image.inputs([diptych.data.samples.as_samples(RED)[0]])[0])
    assert torch.equal(model.tokenizer("red"), model.text.inputs(["red"]))
    with pytest.raises(DataError, match="one photo, not 2"):
        model.preprocess([RED, RED])


def test_names_of_other_libraries_lead_to_ours(model: Model) -> None:
    for name in GUESSES["Model"]:
        with pytest.raises(AttributeError, match=f"has no '{name}': use "):
            getattr(model, name)
    assert (model.device, model.dim) == ("cpu", 4)
    with pytest.raises(
        AttributeError, match=r"A Model has no 'colour': it has activation, dense, device, dim, encode_image, "
    ):
        _ = model.colour  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"A Model has no '_colour'\.$"):
        _ = model._colour  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"use encode_image\(photos\)"):
        model(RED)
    with pytest.raises(TypeError, match="use its preprocess and its tokenizer"):
        _, _ = model


@pytest.mark.parametrize("texts", [3, [3], None, [["a"]], torch.zeros(1, 4)])
def test_what_is_no_text_is_refused(model: Model, texts: Any) -> None:
    with pytest.raises(UsageError, match="A text is a str, not"):
        model.encode_text(texts)


@pytest.mark.parametrize("size", ["x", 2.5, 0])
def test_what_is_no_size_of_a_batch_is_refused(model: Model, size: Any) -> None:
    with pytest.raises(UsageError, match="batch_size must be a whole number of at least 1"):
        model.encode_text("a", batch_size=size)


def test_a_photo_that_cannot_be_read_is_named(model: Model, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UnreadableItem, match=r"broken\.jpg"):
        model.encode_image([tmp_path / "broken.jpg", RED])


def test_vectors_come_back_from_the_cache() -> None:
    model = diptych.load(engine="torch")
    first, again = model.encode_image(RED), diptych.load(engine="torch")
    assert np.array_equal(again.encode_image(RED), first)
    assert again.run.tally["cached"] == 1
    assert again.run.tally["encoded"] == 0


def test_the_former_name_of_activation_warns() -> None:
    model = diptych.load("tiny", engine="torch", cache=False)
    assert model.activation == "softmax"
    with pytest.warns(DeprecationWarning, match=r"Model\.score is now Model\.activation"):
        assert model.score == "softmax"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diptych.classify(Image.new("RGB", (8, 8)), ["a", "b"], model)
