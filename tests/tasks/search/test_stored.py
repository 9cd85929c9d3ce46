from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import Run, UsageError
from diptych.data.load import open_records
from diptych.data.records.parts import RecordPart
from diptych.data.records.records import Records
from diptych.data.records.vectors import StoredVectors
from diptych.tasks.search.stored import refuse_others, stored_vectors
from tests.support.colours import ColourBackbone

VECTORS = np.random.default_rng(0).normal(size=(4, ColourBackbone().image.dim)).astype(np.float32)


def records(folder: Path, vectors: Any = VECTORS, **facts: Any) -> Records:
    (folder / "img_emb").mkdir(parents=True)
    np.save(folder / "img_emb" / "img_emb_0.npy", vectors)
    if facts:
        (folder / "encode.json").write_text(json.dumps(facts))
    return open_records(folder, vectors=True)


def stored(folder: Path, vectors: Any = VECTORS, **facts: Any) -> StoredVectors:
    images: object = records(folder, vectors, **facts).images
    assert isinstance(images, StoredVectors)
    return images


def test_vectors_are_taken_as_they_are_and_broken_ones_are_named(tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[1], vectors[2, 0] = 0, np.nan
    whole = records(tmp_path / "emb", vectors)
    part = RecordPart(whole, "image")
    arrays = stored_vectors(part)
    assert arrays is not None
    np.testing.assert_array_equal(arrays.values, VECTORS[[0, 3]][:, None])
    assert arrays.kept.tolist() == [0, 3]
    assert [(e.name, e.reason) for e in arrays.failed] == [
        (part.name(i), "its stored vector is zero or not finite") for i in (1, 2)
    ]
    assert stored_vectors(RecordPart(whole, "text")) is None, "captions have no vectors"


def test_vectors_of_another_model_precision_decode_or_width_are_refused(tmp_path: Path) -> None:
    backbone, run = ColourBackbone(), Run()
    fits = {"fingerprint": backbone.fingerprint, "precision": run.precision, "decode": run.decode}
    refuse_others(stored(tmp_path / "same", **fits), backbone, run)
    refuse_others(stored(tmp_path / "unknown"), backbone, run)
    others: list[tuple[dict[str, Any], str]] = [
        ({"fingerprint": "x", "spec": {"name": "ViT-B-32"}}, "was encoded with ViT-B-32, and this is "),
        ({"precision": "bf16"}, "was encoded with precision bf16, not "),
        ({"decode": "draft"}, "was encoded with decode draft, not exact"),
    ]
    for i, (change, words) in enumerate(others):
        with pytest.raises(UsageError, match=words):
            refuse_others(stored(tmp_path / str(i), **{**fits, **change}), backbone, run)
    wide = stored(tmp_path / "wide", np.ones((2, VECTORS.shape[1] + 1), np.float32), **fits)
    with pytest.raises(UsageError, match=f"vectors of {VECTORS.shape[1] + 1} numbers, and "):
        refuse_others(wide, backbone, run)
