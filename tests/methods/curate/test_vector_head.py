from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Kit, Run, UnreadableItem, UsageError
from diptych.methods.curate.vector_head import VectorHeadFilter, head_threshold
from diptych.nn.vector_head import VectorHead
from diptych.tasks.curate.heads import head_report
from tests.support.backbone import DIM, SmallBackbone
from tests.support.pictures import picture
from tests.support.refused import refused

BACKBONE = SmallBackbone()
KIT = Kit({"main": BACKBONE})


@dataclass(frozen=True)
class Item:
    number: int

    @property
    def name(self) -> str:
        return f"{self.number}.png"

    def image(self) -> Image.Image:
        if self.number == 5:
            raise UnreadableItem("5.png", "truncated")
        return picture(self.number % 4, self.number)

    def text(self) -> str:
        return "a caption"


@dataclass(frozen=True)
class Items:
    count: int = 40
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return ((i, Item(i)) for i in range(self.start, self.count))

    def seek(self, position: int) -> Items:
        return replace(self, start=position)


@pytest.fixture
def file(tmp_path: Path) -> str:
    weight = np.random.default_rng(0).normal(size=(1, DIM))
    scores = np.linspace(0, 1, 400)
    right = np.random.default_rng(1).random(400) < 1 / (1 + np.exp(6 - 12 * scores))
    made = VectorHead(((weight, np.zeros(1)),), backbone=BACKBONE.fingerprint, name="x", val=scores, right=right)
    made.save(tmp_path / "head")
    return str(tmp_path / "head")


def test_a_share_a_threshold_and_a_precision_keep_the_highest_scores(file: str) -> None:
    method = VectorHeadFilter(head=file, share=0.25)
    plan = method.plan(KIT, Items(), Run())
    verdicts = list(method.apply(KIT, plan, Items(), Run()))
    scores = {v.position: v.score for v in verdicts if not v.reason}
    assert [v.reason for v in verdicts if v.reason] == ["truncated"]
    assert plan.broken == 1
    ranked = sorted(scores, key=scores.__getitem__)
    kept = [v.position for v in verdicts if v.keep]
    assert 8 <= len(kept) <= 10
    assert set(kept) == set(ranked[-len(kept) :])
    low = [v.position for v in replace(method, below=True).apply(KIT, plan, Items(), Run()) if v.keep]
    assert 8 <= len(low) <= 10
    assert set(low) == set(ranked[: len(low)])
    cut = scores[ranked[10]]
    above = [v.keep for v in VectorHeadFilter(head=file, threshold=cut).apply(KIT, plan, Items(), Run())]
    assert sum(above) == 29
    beneath = VectorHeadFilter(head=file, threshold=cut, below=True)
    assert sum(v.keep for v in beneath.apply(KIT, plan, Items(), Run())) == 11
    sure = VectorHeadFilter(head=file, precision=0.8)
    promised = head_threshold(sure.loaded, 0.8)
    assert 0.4 <= promised <= 0.8
    assert all(v.keep == (v.score >= promised) for v in sure.apply(KIT, plan, Items(), Run()) if not v.reason)


def test_below_a_cut_the_share_without_the_name_is_promised(file: str) -> None:
    head = VectorHeadFilter(head=file).loaded
    turned = VectorHead(head.layers, val=1 - head.val, right=~head.right)
    assert head_threshold(head, 0.8, below=True) == pytest.approx(1 - head_threshold(turned, 0.8))


def test_the_report_has_the_area_of_a_ranking_and_its_cuts(file: str) -> None:
    report = head_report(VectorHeadFilter(head=file).loaded)
    head = VectorHeadFilter(head=file).loaded
    pairs = head.val[head.right][:, None] > head.val[~head.right][None]
    assert report["val_auc"] == pytest.approx(pairs.mean())
    assert report["val_auc_interval"][0] < report["val_auc"] < report["val_auc_interval"][1]
    assert (report["val"], report["thresholds"]["0.8"]) == (400, head_threshold(head, 0.8))
    small = VectorHead(head.layers, val=head.val[::10], right=head.right[::10])
    assert head_report(small)["thresholds"]["0.95"] is None, "59 pictures at least must be right"
    bare = VectorHead(head.layers)
    assert head_report(bare) == {"name": "", "dim": DIM, "layers": 1}
    with pytest.raises(DataError, match="no labelled pictures to promise"):
        head_threshold(bare, 0.8)


def test_plans_merge_and_other_heads_are_refused(file: str, tmp_path: Path) -> None:
    method = VectorHeadFilter(head=file)
    whole = method.plan(KIT, Items(), Run())
    merged = method.plan(KIT, Items(20), Run()).merge(method.plan(KIT, Items().seek(20), Run()))
    assert (merged.counts == whole.counts).all()
    whole.write(tmp_path / "plan")
    assert method.read_plan(tmp_path / "plan").low == 0.0
    VectorHead(((np.ones((1, DIM)), np.zeros(1)),)).save(tmp_path / "other")
    with pytest.raises(UsageError, match="another system, backbone or head"):
        list(VectorHeadFilter(head=str(tmp_path / "other")).apply(KIT, whole, Items(), Run()))
    with pytest.raises(UsageError, match="fitted on the backbone"):
        method.plan(Kit({"main": SmallBackbone(seed=1)}), Items(), Run())
    with pytest.raises(UsageError, match="needs a head"):
        VectorHeadFilter().plan(KIT, Items(), Run())
    with pytest.raises(UsageError, match="give one of them"):
        VectorHeadFilter(threshold=0.1, precision=0.8)
    refused(VectorHeadFilter, {"share": 0.0}, {"precision": 1.0}, {"threshold": float("nan")})
