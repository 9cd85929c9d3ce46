"""The comparison counts hits of both on the same photos, and means weigh domains as said."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.lite_tower_judge import DOMAINS, ROWS, compared, means


def test_a_comparison_is_paired() -> None:
    y = np.array([0, 1, 2, 0])
    old, new = np.eye(3, dtype=np.float32)[[0, 1, 1, 1]], np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]
    got = compared({"lite:2026-11": old, "lite": new}, y, [1.0, 100.0], seed=0)
    assert (got["lite:2026-11"], got["lite"], got["gain"]["value"]) == (0.5, 0.75, 0.25)
    assert got["gain"]["low"] >= 0
    assert got["calibration_error"]["lite:2026-11"] == pytest.approx(abs(0.5 - np.e / (np.e + 2)))
    assert got["calibration_error"]["lite"] == pytest.approx(0.25)


def test_means_are_over_rows_and_over_sets() -> None:
    values = {title: 1.0 if title.startswith("pacs") else 0.0 for title, _, _ in ROWS}
    rows = {title: {"prompt": {"lite": v, "lite:views": v / 2}} for title, v in values.items()}
    assert len(DOMAINS) == 4
    assert means(rows, "prompt") == {
        "lite": {"seven rows": pytest.approx(4 / 7), "four sets": 0.25},
        "lite:views": {"seven rows": pytest.approx(2 / 7), "four sets": 0.125},
    }
