"""Options of encode_image: a bad photo loses no other, and the library, device and batch are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diptych
from diptych.api.encoded import encoded_rows
from diptych.api.model import Model
from diptych.core import DataError, UnreadableItem, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "c"):
        Image.new("RGB", (8, 8), "red" if name == "a" else "blue").save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    return tmp_path


def test_one_bad_photo_loses_no_other(model: Model, folder: Path) -> None:
    with pytest.raises(UnreadableItem, match=r"b\.png"):
        model.encode_image(folder)
    rows = model.encode_image(folder, on_error="skip")
    assert rows.shape == (2, 4)
    assert rows.kept.tolist() == [0, 2]
    assert [Path(e.name).name for e in rows.failed] == ["b.png"]
    assert type(rows + 1) is np.ndarray
    tensor: Any = model.encode_image(folder, on_error="skip", output="torch")
    assert (list(map(str, tensor.failed)), tensor.kept.tolist()) == (list(map(str, rows.failed)), [0, 2])
    with pytest.raises(DataError, match="The only photo cannot be read"):
        model.encode_image([folder / "b.png"], on_error="skip")


def test_the_output_is_chosen(model: Model, folder: Path) -> None:
    rows, tensor = model.encode_image(folder / "a.png"), model.encode_image(folder / "a.png", output="torch")
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(rows, tensor.numpy())
    assert model.encode_text("a red thing", output="torch", device="cpu", batch_size=1).shape == (1, 4)
    for options, sentence in (
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"on_error": "ignore"}, "'raise' or 'skip', not 'ignore'"),
        ({"output": "jax"}, "'numpy' or 'torch', not 'jax'"),
        ({"device": "cuda"}, r"diptych\.load\(name, device='cuda'\)"),
        ({"device": "nowhere", "output": "torch"}, "no device 'nowhere'"),
    ):
        with pytest.raises(UsageError, match=sentence):
            model.encode_image(folder / "a.png", **options)  # type: ignore[call-overload]


def test_a_bar_is_shown_where_it_is_wanted(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def progress_of(wanted: bool | None) -> Any:
        shown.append(str(wanted))
        return model.run.progress

    monkeypatch.setattr("diptych.api.model.progress_of", progress_of)
    model.encode_text("red")
    assert shown == []
    model.encode_text("blue", progress=True)
    assert shown == ["True"]


def test_a_bad_labelled_photo_is_left_out_of_a_fit(model: Model, folder: Path) -> None:
    photos = [folder / f"{name}.png" for name in "abc"]
    with pytest.warns(UserWarning, match=r"1 labelled photo cannot be read, left out; the first: .*b\.png"):
        fitted = diptych.systems.LinearProbe(C=1.0).fit(model, photos, ["red", "red", "blue"])
    assert [Path(e.name).name for e in fitted.failed] == ["b.png"]
    assert fitted.predict(folder / "c.png").tolist() == ["blue"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("paths", "use the list that was given"), ("numpy", "use it as it is"), ("cpu", "use it as it is"),
        ("to", "use output='torch'"), ("to_pandas", r"use pandas.DataFrame\(rows\)"), ("labels", r"use labels\(\)"),
    ],
)  # fmt: skip
def test_rows_say_what_to_write_instead_of_names_of_tensors_and_results(name: str, hint: str) -> None:
    rows = encoded_rows(np.ones((2, 3), np.float32), np.arange(2), ())
    with pytest.raises(AttributeError, match=hint):
        getattr(rows, name)


def test_other_names_are_missing_as_of_any_array() -> None:
    rows = encoded_rows(np.ones((2, 3), np.float32), np.arange(2), ())
    with pytest.raises(AttributeError, match=r"^'EncodedRows' object has no attribute 'wibble'$"):
        rows.wibble  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(rows, "__cuda_array_interface__")
