from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import diptych
from diptych.api.model import Model


def test_embeddings_are_returned_and_written_only_where_a_folder_is_named(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = [np.full((6, 6, 3), tone, np.uint8) for tone in (10, 200)]
    made = diptych.encode(photos, model=model)
    assert made.vectors.shape == (2, made.dim)
    np.testing.assert_allclose(np.linalg.norm(made.vectors, axis=1), 1, rtol=1e-5)
    assert len(made.names) == 2
    assert not list(tmp_path.iterdir()), "nothing is written unasked"
    written = diptych.encode(photos, tmp_path / "out", model)
    np.testing.assert_allclose(written.vectors, made.vectors, atol=1e-6)
    assert (tmp_path / "out").is_dir()


def test_embeddings_are_an_array(model: Model) -> None:
    made = diptych.encode(texts=["red", "blue", "green"], model=model)
    assert (made.shape, made.dtype, made.ndim, made.dim) == ((3, 4), np.dtype(np.float32), 2, 4)
    np.testing.assert_array_equal(made @ made.T, made.vectors @ made.vectors.T)
    assert type(made.mean(axis=0)) is type(made * 2) is type(made.vectors) is np.ndarray
    assert made.names == ("red", "blue", "green")
    assert made[:2].names == (), "a part has no names of the whole"
    assert repr(made) == "3 vectors of 4 numbers"
    assert repr(made[0]) == repr(made.vectors[0])
    assert torch.as_tensor(made).shape == (3, 4)
    assert pd.DataFrame(made).shape == (3, 4)
    assert list(made.to_pandas().columns) == ["path", "embedding"]


def test_embeddings_are_pickled_with_what_they_know(model: Model) -> None:
    made = diptych.encode(texts=["red", "blue"], model=model)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again, made)
    assert (again.names, again.as_dict(), again.failed) == (made.names, made.as_dict(), ())
