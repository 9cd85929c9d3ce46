from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.run import Run
from diptych.data.draws import uniform
from diptych.features.pair_vectors import Keep, PairVectors, Rule, Vectors, identity, near, pair_vectors, read_vectors
from tests.support.backbone import DIM, SmallBackbone
from tests.support.pictures import picture

ENCODER = SmallBackbone().image


@dataclass(frozen=True)
class Item:
    number: int

    @property
    def name(self) -> str:
        return f"p{self.number}.jpg"

    def image(self) -> Image.Image:
        if self.number % 17 == 5:
            raise UnreadableItem(self.name, "truncated")
        return picture(self.number % 4, self.number % 30)


def plan(numbers: range, chunk: int = 7, mirrored: bool = False) -> PairVectors:
    items = [(i, Item(i)) for i in numbers]
    chunks = [items[i : i + chunk] for i in range(0, len(items), chunk)]
    return pair_vectors(ENCODER, ENCODER.fingerprint, chunks, mirrored, Run())


def drawn(n: int, views: int = 1, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, views, 6))
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    ids = np.sort(rng.choice(2**62, n, replace=False).astype(np.uint64))
    return Vectors(ids, z.astype(np.float16), rng.integers(0, 2**63, (n, 2), dtype=np.uint64))


@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
@pytest.mark.parametrize("rule", ["vector", "hash", "both", "either"])
def test_in_one_cell_it_is_a_loop_over_pairs(keep: Keep, rule: Rule) -> None:
    own = drawn(50, views=2)
    z = own.values.astype(np.float64)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    mean = z[:, 0].mean(axis=0)
    typical = z[:, 0] @ (mean / np.linalg.norm(mean))
    first = {"hard": typical, "easy": -typical, "random": [uniform(3, i) for i in own.ids.tolist()]}[keep]
    order = np.argsort(first)
    expected = np.full(50, -1.0)
    for place, i in enumerate(order):
        for j in order[:place]:
            apart = min(bin(int(own.hashes[i, 0]) ^ int(own.hashes[j, v])).count("1") for v in (0, 1))
            cosine, close = max(z[i, 0] @ z[j, v] for v in (0, 1)), apart <= 28
            cases = {"vector": cosine, "hash": 1 if close else -1, "both": cosine if close else -1}
            expected[i] = max(expected[i], {**cases, "either": 1 if close else cosine}[rule])
    assert near(own, 1, keep, rule, 28, 3) == pytest.approx(expected, abs=1e-5)


def test_cells_part_what_is_far_and_the_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(6)[rng.integers(0, 3, 90)]
    z = centres + 0.01 * rng.normal(size=centres.shape)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    own = drawn(90)._replace(values=z.astype(np.float16)[:, None])
    scores = near(own, 3, "easy", "vector", 10, 0)
    assert (scores == -1).sum() == 3  # the first of each cell
    assert (scores[scores > -1] > 0.99).all()
    monkeypatch.setattr("diptych.features.pair_vectors.BLOCK", 4)
    assert near(own, 3, "easy", "vector", 10, 0) == pytest.approx(scores, abs=1e-6)


def test_plans_of_parts_merge_to_that_of_the_whole_in_any_order(tmp_path: Path) -> None:
    whole = plan(range(60))
    a, b = plan(range(25), chunk=25), plan(range(25, 60), chunk=4)
    for merged in (a.merge(b), b.merge(a), a.merge(b).merge(a)):
        assert (merged.vectors.ids == whole.vectors.ids).all()
        assert (merged.vectors.hashes == whole.vectors.hashes).all()
        assert np.allclose(merged.vectors.values, whole.vectors.values, atol=1e-3)
    assert whole.report()["vectors"] == 60 - sum(i % 17 == 5 for i in range(60))
    assert (whole.broken, whole.unread[0]) == (4, ("p5.jpg", "truncated"))
    whole.write(tmp_path / "p")
    again = read_vectors(tmp_path / "p", "semdedup")
    assert again.report() == whole.report()
    assert (again.vectors.values == whole.vectors.values).all()
    assert again.nearest(None, "hard", "vector", 10, 0) == whole.nearest(None, "hard", "vector", 10, 0)
    assert len(whole.nearest(None, "hard", "vector", 10, 0)) == 56
    PairVectors("b", True, DIM).write(tmp_path / "empty")
    assert read_vectors(tmp_path / "empty", "semdedup").vectors.values.shape == (0, 2, DIM)
    assert PairVectors("b", True, DIM).nearest(None, "hard", "vector", 10, 0) == {}


def test_mirror_images_are_a_second_view() -> None:
    single, both = plan(range(4)), plan(range(4), mirrored=True)
    assert (both.vectors.values[:, 0] == single.vectors.values[:, 0]).all()
    mirrored = [(i, _Mirrored(Item(i))) for i in range(4)]
    other = pair_vectors(ENCODER, "", [mirrored], False, Run())
    assert np.allclose(both.vectors.values[:, 1], other.vectors.values[:, 0])
    assert (both.vectors.hashes[:, 1] == other.vectors.hashes[:, 0]).all()
    with pytest.raises(UsageError, match="cannot be merged"):
        single.merge(both)


@dataclass(frozen=True)
class _Mirrored:
    item: Any

    @property
    def name(self) -> str:
        return str(self.item.name)

    def image(self) -> Image.Image:
        return ImageOps.mirror(self.item.image())


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("x")
    with pytest.raises(DataError, match="is no plan of semdedup"):
        read_vectors(tmp_path / "bad", "semdedup")
    assert identity("a", 1) != identity("a", 2)
