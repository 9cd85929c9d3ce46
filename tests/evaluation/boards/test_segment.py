from __future__ import annotations

from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest

from diptych.core.data import ClassNames, Column
from diptych.core.errors import UsageError
from diptych.core.run import Run
from diptych.data.formats.semantic import read_semantic
from diptych.data.labelled import LabelledData
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.segment import MaskBench
from diptych.methods.segment.maskclip import MaskCLIP
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
    found = bench(replace(data, splits={"val": whole}, things=(True, True, False, False))).measure(Arm("maskclip"))
    assert found.others["pq"] > 0.6
    assert found.others["images_a_second"] > 0
    assert set(found.others) >= {"pq_things", "pq_stuff", "mask_ap"}
