from __future__ import annotations

import numpy as np

from diptych.data.tissue import otsu, saturation, tissue


def test_otsu_equals_all_thresholds_tried() -> None:
    rng = np.random.default_rng(0)
    values = np.clip(np.concatenate([rng.normal(60, 10, 500), rng.normal(150, 20, 300)]), 0, 255).astype(np.uint8)

    def between(t: int) -> float:
        low, high = values[values <= t].astype(float), values[values > t].astype(float)
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2 if len(low) and len(high) else 0.0

    best = max(between(t) for t in range(256))
    assert between(otsu(values)) == best
    assert otsu(np.full(9, 7, np.uint8)) == 0


def test_saturation_and_mask() -> None:
    pixels = np.array([[[250, 250, 250], [200, 100, 180], [0, 0, 0]]], dtype=np.uint8)
    assert saturation(pixels).tolist() == [[0, 128, 0]]
    assert tissue(pixels).tolist() == [[False, True, False]]
    glass = np.full((4, 4, 3), 245, np.uint8)
    glass[0, 0] = (245, 240, 238)
    assert not tissue(glass).any()  # a blank slide has no tissue, whatever its noise
    assert tissue(np.full((4, 4, 3), (200, 90, 160), np.uint8)).all()  # and one that is full has no glass
