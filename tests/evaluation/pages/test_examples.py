"""The photos that stand under right and wrong."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from diptych.core import Table
from diptych.data.memory import InMemory
from diptych.evaluation.pages import examples as page
from diptych.evaluation.pages.examples import _one_a_class, _shown, confusion, counts_of, examples


def test_every_class_comes_once_before_any_comes_twice() -> None:
    labels = np.array([0, 0, 1, 2, 0, 1])
    assert _one_a_class([0, 1, 4, 2, 5, 3], labels) == [0, 2, 3, 1, 5, 4]


def test_the_best_row_at_most_shots_is_shown_and_no_row_gives_no_section() -> None:
    rows: list[Any] = [SimpleNamespace(shots=s, metrics={"acc1": a}) for s, a in ((0, 0.9), (4, 0.5), (4, 0.6))]
    assert _shown(SimpleNamespace(rows=rows)) is rows[2]  # type: ignore[arg-type]
    assert list(examples(SimpleNamespace(rows=()))) == []  # type: ignore[arg-type]


def row(*said: list[int]) -> Any:
    outcomes = [SimpleNamespace(labels=np.array([0, 0, 1]), predicted=np.array(each)) for each in said]
    return SimpleNamespace(outcomes=outcomes, label="gda", shots=4, variant="")


def board() -> Any:
    photos = InMemory(tuple(Image.new("RGB", (8, 8), (90 * i, 0, 0)) for i in range(3)))
    return SimpleNamespace(classes=SimpleNamespace(names=("dog", "<cat>")), test=Table(photos))


def test_counts_are_over_seeds_with_true_classes_in_rows() -> None:
    assert counts_of(row([1, 1, 1], [1, 0, 0]), 2).tolist() == [[1, 3], [1, 1]]


def test_a_cell_opens_its_photos_and_names_are_escaped(monkeypatch: Any) -> None:
    monkeypatch.setattr(page, "called", lambda row: row.label)
    text = "".join(confusion(board(), row([1, 1, 1], [1, 0, 0])))
    assert "<a href='#cell-0-1'>3</a>" in text
    assert "id='cell-0-1'><h3>dog taken for &lt;cat&gt;</h3>" in text
    assert text.count("<img ") == 2
    assert "None in the first seed" in text
    assert text.index("by-errors'>") < text.index("by-name'>")
    assert "<cat>" not in text


def test_names_are_sorted_as_in_a_list_and_wide_ones_can_be_read(monkeypatch: Any) -> None:
    """Capital letters came before all small ones, and a wide name hid its row on a phone."""
    monkeypatch.setattr(page, "called", lambda row: row.label)
    wide = "a name as wide as a page " * 4
    names = SimpleNamespace(names=("Zebra", wide, "Äpfel", "ape"))
    outcome = SimpleNamespace(labels=np.arange(4), predicted=np.array([1, 0, 3, 2]))
    made = SimpleNamespace(outcomes=[outcome], label="gda", shots=4, variant="")
    photos = Table(InMemory(tuple(Image.new("RGB", (8, 8)) for _ in range(4))))
    text = "".join(confusion(SimpleNamespace(classes=names, test=photos), made))  # type: ignore[arg-type]
    by_name = text[text.index("scroll by-name") :]
    assert re.findall(r"<th scope='row' title='(\w+)", by_name) == ["a", "ape", "Äpfel", "Zebra"]
    assert f"title='{wide}'" in by_name
    assert "text-overflow:ellipsis" in text


def test_nothing_is_shown_where_all_is_right() -> None:
    assert list(confusion(board(), row([0, 0, 1]))) == []
