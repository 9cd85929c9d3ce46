from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.backbones.mask_models.sam import SamMasks
from diptych.core import ClassNames, Column, Run, Samples, UsageError
from diptych.data.formats.semantic import read_semantic
from diptych.data.labelled import LabelledData
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards import segment
from diptych.evaluation.boards.segment import MaskBench
from diptych.evaluation.small_sam import new_sam
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.methods.segment.sam_clip import SAMCLIP
from diptych.methods.segment.trident import Trident
from diptych.metrics.segmentation import mean_iou
from diptych.nn.dense.label_maps import Windows
from tests.support.dense_colours import DenseColours, masked_folder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledData:
    monkeypatch.setattr(MaskCLIP, "__init__", partialmethod(MaskCLIP.__init__, windows=Windows(40, 40, 20)))
    return read_semantic(masked_folder(tmp_path / "colours"))


def bench(data: LabelledData, **more: object) -> MaskBench:
    return MaskBench(data, DenseColours(), Run(), (1,), **more)  # type: ignore[arg-type]


def miou(found: MaskBench) -> float:
    return float(mean_iou(np.asarray(found.measure(Arm("maskclip")).values)[0].sum(0)))


def test_synonyms_of_the_data_or_the_user_are_merged(data: LabelledData) -> None:
    plain = miou(bench(data))
    assert plain > 0.6
    spoiled = ClassNames(("pink", "green", "blue", "yellow"), ("{}",))
    mended = replace(spoiled, words=(("pink", "red"), ("green",), ("blue",), ("yellow",)))
    assert miou(bench(data, classes=mended)) > miou(bench(data, classes=spoiled))
    of_data = replace(data, words=(("red", "pink"), ("green",), ("blue",), ("yellow",)))
    found = bench(of_data)
    assert found.names.words[0] == ("red", "pink")
    assert found.facts["words"][0] == ["red", "pink"]
    assert miou(found) > 0.6


def test_a_board_of_some_photos_takes_those_of_the_least_keys(data: LabelledData) -> None:
    whole, few = bench(data), bench(data, most=2)
    keys = [whole.table.items.key(i) for i in range(len(whole.table))]
    assert len(keys) > 2
    assert [few.table.items.key(i) for i in range(2)] == [k for k in keys if k in sorted(keys)[:2]]
    assert (few.facts["items"], few.facts["least_keys_of"]) == (2, len(keys))
    assert few.facts["data_hash"] != whole.facts["data_hash"]
    assert "least_keys_of" not in whole.facts
    assert np.asarray(few.measure(Arm("maskclip")).values).shape[1] == 2


def test_background_is_a_list_of_words_where_it_is_a_class(data: LabelledData) -> None:
    grouped = replace(data, classes=("red", "green", "background", "yellow"))
    assert miou(bench(grouped, background=("blue",))) == pytest.approx(miou(bench(data)))
    with pytest.raises(UsageError, match="no class 'background'"):
        bench(data, background=("blue",))
    unsure = bench(grouped, background=("blue",), threshold=1.0).measure(Arm("maskclip"))
    assert np.asarray(unsure.values)[0].sum((0, 1)).nonzero()[0].tolist() == [2]  # all is background, its third class


def test_panoptic_maps_give_panoptic_quality(data: LabelledData) -> None:
    table = data.split("val")
    masks = [np.asarray(m).astype(np.int64) for m in table.columns["mask"].values]
    truth = Column("panoptic", tuple(np.stack([m, m + 1], axis=-1) for m in masks))
    whole = replace(table, columns={**table.columns, "panoptic": truth})
    measured = bench(replace(data, splits={"val": whole}, things=(True, True, False, False))).measure(Arm("maskclip"))
    assert measured.others["pq"] > 0.6
    assert measured.others["images_a_second"] > 0
    assert set(measured.others) >= {"pq_things", "pq_stuff", "mask_ap"}


def test_without_a_sam_a_small_one_learns_from_the_train_split(
    data: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = []

    def small_sam(photos: Samples[Any], objects: Sequence[Any], *sizes: int, run: Run) -> SamMasks:
        taught.append((len(photos), [len(o) for o in objects]))
        return new_sam(32, 8, run)

    monkeypatch.setattr(segment, "small_sam", small_sam)
    quick = {"side": 32, "taught_side": 32, "prompts": 1, "batch": 4, "probe_epochs": 1, "epochs": 1, "hidden": 8}
    monkeypatch.setattr(SAMCLIP, "__init__", partialmethod(SAMCLIP.__init__, **quick))
    both = replace(data, splits={"train": data.split("val"), "val": data.split("val")})
    found = bench(both, photos=data.split("val").items)
    assert 0 <= found.measure(Arm("sam-clip")).others["sam_iou_in_boxes"] <= 1
    assert taught == [(6, [2] * 6)]  # the halves of each photo
    assert "masks" not in found.given(Trident)[0].parts  # which needs none
    assert len(taught) == 1
    with pytest.raises(UsageError, match="give masks"):
        bench(data).measure(Arm("sam-clip"))
