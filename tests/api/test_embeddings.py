from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
