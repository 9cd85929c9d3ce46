from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.data.load import open_data
from diptych.data.memory import InMemory
from diptych.search_index.index import Index
from diptych.serve.model import ServedModel
from diptych.serve.pages.marked import as_model, marked_head
from diptych.tasks.model import load
from tests.support.colours import ColourBackbone


def test_one_kind_of_mark_makes_no_head(index_folder: Path) -> None:
    with Index(index_folder) as index:
        names = list(index.names())
        assert marked_head(index, {}) is None
        assert marked_head(index, dict.fromkeys(names, True)) is None
        assert marked_head(index, {names[0]: True, "gone.jpg": False}) is None


def test_a_saved_head_is_a_classifier_that_says_what_the_head_says(
    index_folder: Path, model: ServedModel, colours: Path, tmp_path: Path
) -> None:
    with Index(index_folder) as index:
        names = list(index.names())
        head = marked_head(index, {name: "/pink/" in name for name in names[::2]})
        assert head is not None
        assert (head.right + head.wrong, 0 < head.right < head.wrong) == (len(names[::2]), True)
        for name, data in as_model(head, "pink", model, index).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
        number = index.numbers(names[:1])[names[0]]
        vector = np.asarray(index.vectors("image")[index.slots([number])[0]])
    saved = load(tmp_path / "head", ColourBackbone())
    assert saved.classes.names == ("pink", "not pink")
    assert saved.calibration is None
    assert saved.about["marks"] == {"right": head.right, "wrong": head.wrong}
    items = open_data(colours).split("test").items
    position = [items.name(i) for i in range(len(items))].index(names[0])
    expected = 1 / (1 + np.exp(-(vector @ head.weight + head.bias)))
    assert saved.predict_proba(InMemory((items[position],)))[0, 0] == pytest.approx(expected, abs=1e-5)
    pink = np.array(["/pink/" in items.name(i) for i in range(len(items))])
    shares = saved.predict_proba(items)[:, 0]
    assert shares[pink].mean() > 0.5 > shares[~pink].mean()
