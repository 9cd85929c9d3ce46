from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from threadpoolctl import ThreadpoolController, threadpool_limits

from diptych.core import DataError, Run, UnreadableItem, UsageError
from diptych.core.blocks import Block
from diptych.data.draws import uniform
from diptych.data.sorted_runs import SortedRuns
from diptych.features import pair_vectors as module
from diptych.features.pair_vectors import (
    Keep,
    PairVectors,
    Rule,
    Vectors,
    identity,
    layout,
    near,
    pair_vectors,
    read_vectors,
)
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
    chunks = [Block.of(items[i : i + chunk]) for i in range(0, len(items), chunk)]
    return pair_vectors(ENCODER, ENCODER.fingerprint, chunks, mirrored, Run())


def drawn(n: int, views: int = 1, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, views, 6))
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    ids = np.sort(rng.choice(2**62, n, replace=False).astype(np.uint64))
    return Vectors(ids, z.astype(np.float16), rng.integers(0, 2**63, (n, 2), dtype=np.uint64))


def scores(own: Vectors, *asked: Any) -> np.ndarray:
    rows = near(own.rows(), own.values.shape[1], *asked).whole()
    assert (rows["id"] == own.ids).all()
    score: np.ndarray = rows["score"]
    return score


def vectors(plan: PairVectors) -> Vectors:
    rows = plan.rows.whole()
    return Vectors(rows["id"], rows["vector"].reshape(len(rows["id"]), -1, plan.dim), rows["hash"])


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
    assert scores(own, 1, keep, rule, 28, 3) == pytest.approx(expected, abs=1e-5)


def test_cells_part_what_is_far_and_the_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(6)[rng.integers(0, 3, 90)]
    z = centres + 0.01 * rng.normal(size=centres.shape)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    own = drawn(90)._replace(values=z.astype(np.float16)[:, None])
    result = scores(own, 3, "easy", "vector", 10, 0)
    assert (result == -1).sum() == 3  # the first of each cell
    assert (result[result > -1] > 0.99).all()
    monkeypatch.setattr(module, "BLOCK", 4)
    assert scores(own, 3, "easy", "vector", 10, 0) == pytest.approx(result, abs=1e-6)


@pytest.mark.parametrize("keep", ["hard", "random"])
def test_on_disk_it_is_what_it_is_in_memory(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    own = drawn(500, views=2)
    result = scores(own, 7, keep, "either", 20, 3)
    monkeypatch.setattr("diptych.data.sorted_runs.BYTES", 2048)
    assert len(own.rows().batches) > 5
    assert scores(own, 7, keep, "either", 20, 3) == pytest.approx(result, abs=1e-6)


def test_products_of_small_cells_have_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = set[int]()

    def counted(*given: Any) -> np.ndarray:
        libraries = ThreadpoolController().info()
        counts.update(library["num_threads"] for library in libraries if library["user_api"] == "blas")
        return np.zeros(len(given[0]), dtype=np.float32)

    monkeypatch.setattr(module, "_nearest_before", counted)
    with threadpool_limits(2):
        scores(drawn(50), 2, "hard", "vector", 10, 0)
    assert counts == {1}


def test_plans_of_parts_merge_to_that_of_the_whole_in_any_order(tmp_path: Path) -> None:
    whole = plan(range(60))
    a, b = plan(range(25), chunk=25), plan(range(25, 60), chunk=4)
    for merged in (a.merge(b), b.merge(a), a.merge(b).merge(a)):
        assert (vectors(merged).ids == vectors(whole).ids).all()
        assert (vectors(merged).hashes == vectors(whole).hashes).all()
        assert np.allclose(vectors(merged).values, vectors(whole).values, atol=1e-3)
    assert whole.report()["vectors"] == 60 - sum(i % 17 == 5 for i in range(60))
    assert (whole.broken, whole.unread[0]) == (4, ("p5.jpg", "truncated"))
    whole.write(tmp_path / "p")
    again = read_vectors(tmp_path / "p", "semdedup")
    assert again.report() == whole.report()
    assert (vectors(again).values == vectors(whole).values).all()
    asked: Any = (None, "hard", "vector", 10, 0)
    one, two = again.nearest(*asked).whole(), whole.nearest(*asked).whole()
    assert (one["score"] == two["score"]).all()
    assert len(whole.nearest(*asked)) == 56
    none = PairVectors("b", True, DIM, SortedRuns(layout(2, DIM)))
    none.write(tmp_path / "empty")
    assert read_vectors(tmp_path / "empty", "semdedup").report()["vectors"] == 0
    assert len(none.nearest(*asked)) == 0


def test_mirror_images_are_a_second_view() -> None:
    single, both = plan(range(4)), plan(range(4), mirrored=True)
    assert (vectors(both).values[:, 0] == vectors(single).values[:, 0]).all()
    mirrored = [(i, _Mirrored(Item(i))) for i in range(4)]
    other = pair_vectors(ENCODER, "", [Block.of(mirrored)], False, Run())
    assert np.allclose(vectors(both).values[:, 1], vectors(other).values[:, 0])
    assert (vectors(both).hashes[:, 1] == vectors(other).hashes[:, 0]).all()
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
