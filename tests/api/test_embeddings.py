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
    embeddings = diptych.encode(photos, model=model)
    assert embeddings.vectors.shape == (2, embeddings.dim)
    np.testing.assert_allclose(np.linalg.norm(embeddings.vectors, axis=1), 1, rtol=1e-5)
    assert len(embeddings.names) == 2
    assert not list(tmp_path.iterdir()), "nothing is written unasked"
    written = diptych.encode(photos, tmp_path / "out", model)
    np.testing.assert_allclose(written.vectors, embeddings.vectors, atol=1e-6)
    assert (tmp_path / "out").is_dir()


def test_embeddings_are_an_array(model: Model) -> None:
    embeddings = diptych.encode(texts=["red", "blue", "green"], model=model)
    assert (embeddings.shape, embeddings.dtype, embeddings.ndim, embeddings.dim) == ((3, 4), np.dtype(np.float32), 2, 4)
    np.testing.assert_array_equal(embeddings @ embeddings.T, embeddings.vectors @ embeddings.vectors.T)
    assert type(embeddings.mean(axis=0)) is type(embeddings * 2) is type(embeddings.vectors) is np.ndarray
    assert embeddings.names == ("red", "blue", "green")
    assert embeddings[:2].names == (), "a part has no names of the whole"
    assert repr(embeddings) == "3 vectors of 4 numbers"
    assert repr(embeddings[0]) == repr(embeddings.vectors[0])
    assert torch.as_tensor(embeddings).shape == (3, 4)
    assert pd.DataFrame(embeddings).shape == (3, 4)
    assert list(embeddings.to_pandas().columns) == ["path", "embedding"]


def test_embeddings_are_pickled_with_what_they_know(model: Model) -> None:
    embeddings = diptych.encode(texts=["red", "blue"], model=model)
    again = pickle.loads(pickle.dumps(embeddings))
    np.testing.assert_array_equal(again, embeddings)
    assert (again.names, again.as_dict(), again.failed) == (embeddings.names, embeddings.as_dict(), ())
