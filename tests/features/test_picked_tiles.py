from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.features.picked_tiles import PickedTiles, clusters_of, picked, read_tiles, spread

ONE = PickedTiles("b", "s", {"x.svs": (("x.svs@0,0", "attribute"),)}, 5, 1, (("x.svs@9,9", "damaged tile"),))
TWO = PickedTiles("b", "s", {"a.svs": (("a.svs@0,0", "cluster"), ("a.svs@0,9", "finding"))}, 7)


def test_plans_of_slides_merge_in_any_order() -> None:
    merged = ONE.merge(TWO)
    assert merged == TWO.merge(ONE)
    assert merged.report() == {
        "slides": 2, "tiles": 12, "picked": 3, "by_attribute": 1, "by_finding": 1, "by_cluster": 1, "broken": 1,
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"a\.svs is in both plans"):
        TWO.merge(TWO)
    with pytest.raises(UsageError, match="cannot be merged"):
        ONE.merge(PickedTiles("b", "other", {}))


def test_a_plan_comes_back(tmp_path: Path) -> None:
    ONE.merge(TWO).write(tmp_path / "plan")
    assert read_tiles(tmp_path / "plan", "pathgen") == ONE.merge(TWO)
    (tmp_path / "bad").write_text('{"diptych": "picked tiles"}')
    with pytest.raises(DataError, match="is no plan of pathgen"):
        read_tiles(tmp_path / "bad", "pathgen")


def unit(n: int, seed: int = 0) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_tiles_by_words_equal_a_loop() -> None:
    z, attributes, findings = unit(40), unit(5, 1), unit(3, 2)
    chosen = picked(z, attributes, findings, top=4, sampled=0, batch=1, limit=1.0, seed=0)
    by_attribute = sorted(range(40), key=lambda i: -max(100 * float(z[i] @ a) for a in attributes))[:4]
    by_finding = sorted(range(40), key=lambda i: -sum(100 * float(z[i] @ f) for f in findings))[:4]
    assert [i for i, why in chosen if why == "attribute"] == by_attribute
    assert [i for i, why in chosen if why == "finding"] == [i for i in by_finding if i not in by_attribute]
    near = picked(z, attributes, findings, top=40, sampled=0, batch=1, limit=0.5, seed=0)
    vectors = z[[i for i, _ in near]]
    assert (vectors @ vectors.T - np.eye(len(near))).max() <= 0.5 + 1e-6
    left = set(range(40)) - {i for i, _ in near}
    assert all((z[i] @ vectors.T).max() > 0.5 for i in left)  # nothing was left out without a reason


def test_clusters_give_equal_shares() -> None:
    centres = np.eye(6, dtype=np.float32)
    z = np.concatenate([np.repeat(centres[k : k + 1], n, 0) for k, n in enumerate((50, 20, 3))])
    z = z + np.random.default_rng(0).normal(0, 0.01, z.shape).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    k = clusters_of(len(z), batch=15)
    assert k == math.ceil(math.sqrt(1.6 * 73 / 15)) == 3
    chosen = spread(z, 12, 15, seed=0)
    groups = np.bincount([0 if i < 50 else 1 if i < 70 else 2 for i in chosen])
    assert groups.tolist() == [4, 4, 3]  # of a small cluster all
    assert spread(z, 12, 15, seed=0) == chosen
    assert spread(z[:0], 12, 1, 0) == spread(z, 0, 1, 0) == []
