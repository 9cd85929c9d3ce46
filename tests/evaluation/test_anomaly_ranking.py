from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import Column, DataError, Evidence, Kit, Run, Table, UnreadableItem
from diptych.data.folders import ImageFiles
from diptych.evaluation.anomaly_ranking import Ranking, rank
from diptych.methods.detect.feature_memory import FeatureMemory
from tests.support.dense_colours import DenseColours
from tests.support.image_files import truncated
from tests.support.scratches import scratched

MEMORY = FeatureMemory(side=40)
BACKBONE = DenseColours()


def test_measures_are_those_of_the_maps_and_a_mask_of_another_size_is_refused() -> None:
    table = scratched(4, 4, seed=3)
    fitted = MEMORY.fit(Kit({"main": BACKBONE}), Evidence(train=scratched(6, 0, seed=1)), Run())
    metrics = rank(fitted, table, Run()).metrics
    assert metrics["image_auroc"] == metrics["image_ap"] == 1.0
    assert metrics["eer"] == 0.0
    assert metrics["pixel_auroc"] > 0.95
    assert metrics["pro"] > 0.7
    wrong = Table(table.items, {**table.columns, "mask": Column("mask", (np.zeros((3, 3), bool),) * 8)})
    with pytest.raises(DataError, match="give one of its size"):
        rank(fitted, wrong, Run())
    plain = rank(fitted, Table(table.items, {"label": table.columns["label"]}), Run())
    assert plain.maps is None
    assert set(plain.metrics) == {"image_auroc", "image_ap", "eer"}
    empty = Ranking(
        np.array([0.0, 1.0]), np.array([False, True]), np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 4), bool)
    )
    assert "pro" not in empty.metrics


def test_an_unreadable_photo_is_named(tmp_path: Path) -> None:
    truncated(tmp_path / "b.jpg")
    fitted = MEMORY.fit(Kit({"main": BACKBONE}), Evidence(train=scratched(2, 0, seed=1)), Run())
    with pytest.raises(UnreadableItem, match="b"):
        rank(fitted, Table(ImageFiles([tmp_path / "b.jpg"]), {"label": Column("label", np.zeros(1, int))}), Run())
