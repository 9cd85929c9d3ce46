from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import DataError, Run
from diptych.evaluation.datasets import open_set
from diptych.methods.segment.maft_plus import MAFTPlus
from diptych.metrics.segmentation import IGNORE
from diptych.nn.dense.mask_queries import MaskLayout
from proofs.benches import segment_unseen
from proofs.benches.segment_unseen import OtherFits, few, half_of, halved
from proofs.prove import prove
from tests.support.dense_colours import DenseColours, masked_folder
from tests.support.small_clip import small_clip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos to learn from and two to measure."""
    made = masked_folder(tmp_path / "set")
    rows = (made / "labels.csv").read_text().splitlines()
    rows[1:5] = [row.replace(",val", ",train") for row in rows[1:5]]
    (made / "labels.csv").write_text("\n".join(rows))
    return made


def test_half_of_the_classes_are_void_in_the_training(folder: Path) -> None:
    data = open_set(str(folder), "masks")
    drawn = [half_of(data, Run(seed=s)) for s in (1, 1, 2, 3, 5)]
    assert drawn[0].seen == drawn[1].seen
    assert len({half.seen for half in drawn}) > 1
    for half in drawn:
        assert half.train.classes == tuple(data.classes[k] for k in half.seen)
        own = {half.train.items.key(i): np.asarray(m) for i, m in enumerate(half.train.columns["mask"].values)}
        whole = data.split("train")
        for i in range(len(whole)):
            full = np.asarray(whole.columns["mask"].values[i])
            names = np.array([*half.train.classes, "void"])[np.minimum(own.get(whole.items.key(i), full * 0 + 255), 2)]
            expected = np.where(np.isin(full, half.seen), np.array(data.classes)[full], "void")
            if whole.items.key(i) in own:
                assert (names == expected).all()
            else:
                assert (expected == "void").all()
        assert all((m != IGNORE).any() for m in own.values())


def test_photos_without_a_train_split_are_halved_and_none_is_in_both(folder: Path) -> None:
    data = open_set(str(folder), "masks")
    assert halved(data) is data
    test = {"test": data.split("train")}
    cut, again = (halved(replace(data, splits=test)) for _ in range(2))
    keys = {name: [t.items.key(i) for i in range(len(t))] for name, t in cut.splits.items()}
    assert {name: len(own) for name, own in keys.items()} == {"train": 2, "test": 2}
    assert len({*keys["train"], *keys["test"]}) == 4
    assert keys["train"] == [again.split("train").items.key(i) for i in range(2)]


def test_few_photos_are_always_the_same(folder: Path) -> None:
    table = open_set(str(folder), "masks").split("train")
    assert [few(table, 2).items.key(i) for i in range(2)] == [few(table, 2).items.key(i) for i in range(2)]
    assert len(few(table, None)) == 4


def test_a_split_without_the_classes_is_named(folder: Path) -> None:
    (folder / "classes.csv").write_text("value,name\n1,red\n2,green\n3,blue\n4,yellow\n5,a\n6,b\n7,c\n8,d\n9,e\n10,f")
    data = open_set(str(folder), "masks")

    def every() -> None:
        for seed in range(60):
            half_of(data, Run(seed=seed))

    with pytest.raises(DataError, match="drawn classes"):
        every()


def test_arms_share_masks_and_have_their_own_verdicts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"side": 40, "crop": 40, "layout": MaskLayout(queries=4, encoder=1, decoder=1, points=16), "steps": 2}
    monkeypatch.setattr(segment_unseen, "SETTINGS", small)
    (found,) = prove("fc-clip", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3)).as_dict()["datasets"]
    assert [c["over"] for c in found["claims"]] == ["trained head alone", "frozen head alone", "one weight"]
    assert (found["items"], found["train_items"], found["classes"], found["seen"]) == (2, 4, 4, 2)
    for claim in found["claims"]:
        assert claim["gain"] == pytest.approx(claim["method"]["miou"] - claim["baseline"]["miou"])
        assert {"miou_seen", "miou_unseen"} <= claim["method"].keys()
    (control,) = found["controls"]
    assert control["failed"] == (control["gain_lower95"] <= 0)


def test_trainings_of_maft_plus_go_on_from_the_same_masks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = MaskLayout(queries=4, encoder=1, decoder=1, points=16)
    small = {"side": 32, "crop": 32, "layout": layout, "steps": 1, "tuning": 1, "width": 8, "batch": 2}
    monkeypatch.setattr(segment_unseen, "TUNING", small)
    vit = small_clip(tmp_path / "vit")
    (found,) = prove("maft-plus", vit, Run(), datasets=(str(folder),), seeds=(1, 2, 3)).as_dict()["datasets"]
    assert [c["over"] for c in found["claims"]] == ["frozen CLIP"]
    assert [c["over"] for c in found["controls"]] == ["frozen CLIP"]


def test_ious_are_dealt_to_other_masks() -> None:
    masks, truth = torch.rand(6, 4, 4), torch.ones(2, 4, 4)
    with Run().seeded("deal"):
        own, dealt = MAFTPlus().fits(masks, truth), OtherFits().fits(masks, truth)
    assert not torch.equal(own, dealt)
    assert torch.equal(own.sort(1).values, dealt.sort(1).values)
