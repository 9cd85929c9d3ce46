from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Run, UnreadableItem, UsageError
from diptych.core.blocks import Block
from diptych.features.picture_sample import PictureSample, embed_sized, rank, read_sample, sampled
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
        image = picture(self.number % 4, self.number)
        return image.resize((8, 40)) if self.number % 13 == 4 else image.resize((40, 40))

    def text(self) -> str:
        return "" if self.number % 11 == 3 else f"caption {self.number}"


def plan(numbers: range, size: int = 20, chunk: int = 7) -> PictureSample:
    items = [Item(i) for i in numbers]
    blocks = (Block.of([*enumerate(items[i : i + chunk])]) for i in range(0, len(items), chunk))
    return sampled(ENCODER, (ENCODER.fingerprint, 6, 3, size), blocks, 20, Run())


def test_the_sample_is_the_names_of_least_hash_among_what_can_be_used() -> None:
    usable = [i for i in range(120) if i % 17 != 5 and i % 13 != 4 and i % 11 != 3]

    def hashed(i: int) -> int:
        digest = hashlib.blake2b(f"p{i}.jpg".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") // 2

    expected = [f"p{i}.jpg" for i in sorted(usable, key=hashed)[:20]]
    whole = plan(range(120))
    assert list(whole.names) == expected
    assert (whole.pairs, whole.captioned) == (120, sum(i % 11 != 3 for i in range(120)))
    assert rank("p3.jpg") == hashed(3)


def test_plans_of_parts_merge_to_that_of_the_whole_in_any_order() -> None:
    whole = plan(range(120))
    a, b, c = plan(range(40), chunk=40), plan(range(40, 90), chunk=3), plan(range(90, 120))
    for merged in (a.merge(b).merge(c), c.merge(a).merge(b), c.merge(b.merge(a))):
        assert merged.names == whole.names
        assert np.allclose(merged.vectors, whole.vectors, atol=1e-6)
        assert (merged.pairs, merged.captioned) == (whole.pairs, whole.captioned)
        assert (merged.members == whole.members).all()
    empty = plan(range(0))
    assert whole.merge(empty).names == whole.names
    with pytest.raises(UsageError, match="cannot be merged"):
        whole.merge(plan(range(3), size=9))


def test_clusters_equal_principal_components_by_hand() -> None:
    whole = plan(range(120))
    unit = whole.vectors.astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    centred = unit - unit.mean(0)
    basis = np.linalg.svd(centred, full_matrices=False)[2][:3]
    ours = (unit - whole.found.centre) @ whole.found.basis.T
    assert np.allclose(np.abs(ours), np.abs(centred @ basis.T), atol=1e-6)
    gaps = ((ours[:, None] - whole.found.means[None]) ** 2).sum(-1)
    assert (whole.members == gaps.argmin(1)).all()
    kept = [ours[whole.members == k].mean(0) for k in range(len(whole.found.means))]
    assert np.allclose(kept, whole.found.means, atol=1e-6)  # means of k-means are fixed points


def test_looks_are_a_few_of_each_cluster() -> None:
    whole = plan(range(120))
    looks = whole.looks(2)
    place = dict(zip(whole.names, whole.members.tolist(), strict=True))
    assert all(place[name] == cluster for cluster, name in looks)
    counts = np.bincount([cluster for cluster, _ in looks], minlength=6)
    assert (counts == np.minimum(2, np.bincount(whole.members, minlength=6))).all()


def test_a_plan_comes_back_and_damage_is_named(tmp_path: Path) -> None:
    whole = plan(range(120))
    whole.write(tmp_path / "plan")
    again = read_sample(tmp_path / "plan", "biomedica")
    assert (again.names, again.settings, again.unread) == (whole.names, whole.settings, whole.unread)
    assert (again.vectors == whole.vectors).all()
    empty = plan(range(0))
    empty.write(tmp_path / "empty")
    assert read_sample(tmp_path / "empty", "biomedica").vectors.shape == (0, DIM)
    assert empty.report()["clusters"] == 0
    with pytest.raises(DataError, match="no picture with a caption"):
        _ = empty.found
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(DataError, match="is no plan of biomedica"):
        read_sample(tmp_path / "bad", "biomedica")


def test_small_pictures_are_neither_kept_nor_broken() -> None:
    block = Block.of([(i, Item(i)) for i in range(14)])
    for vectors in (True, False):
        looked = embed_sized(ENCODER, block, 20, Run(), vectors=vectors)
        assert looked.kept.tolist() == [i for i in range(14) if i not in (4, 5)]
        assert looked.broken == {5: "truncated"}
        assert looked.vectors.shape == (12, DIM if vectors else 0)
    some = embed_sized(ENCODER, block, 20, Run(), rows=[3, 4, 5, 9])
    assert (some.kept.tolist(), some.broken, len(some.vectors)) == ([3, 9], {5: "truncated"}, 2)
