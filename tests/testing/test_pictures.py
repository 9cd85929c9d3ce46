from __future__ import annotations

import numpy as np
import pytest

from diptych.testing.pictures import NAMES, SURFACE, Pictures, picture, scratched, surface, table, task


def test_a_task_is_the_same_every_time_and_its_labels_cannot_be_written() -> None:
    (names, evidence, test), (_, again, _) = task(3, shots=2), task(3, shots=2)
    assert names.names == NAMES[:3]
    assert evidence.train is not None
    assert again.train is not None
    assert [evidence.train.items.key(i) for i in range(6)] == [again.train.items.key(i) for i in range(6)]
    assert np.bincount(test.labels()).tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match="read-only"):
        evidence.train.columns["label"].values[0] = 1
    assert set(evidence.texts.texts) >= {"red fox", "red fox | oak tree"}


def test_pictures_of_a_class_are_alike() -> None:
    a, b, other = (np.asarray(picture(k, s), dtype=float).mean((0, 1)) for k, s in ((0, 1), (0, 2), (2, 3)))
    assert np.abs(a - b).max() < np.abs(a - other).max()
    assert len(table([0, 1], 3)) == 2
    assert Pictures(()).images == ()


def test_a_scratch_is_where_its_mask_says() -> None:
    image, mask = surface(3, scratch=True)
    red = np.asarray(image)[..., 0] > 200
    assert mask.shape == (40, SURFACE)
    assert (red == mask).mean() > 0.99
    assert scratched(2, 1, seed=1).labels().tolist() == [0, 0, 1]
