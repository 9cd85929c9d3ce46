from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core import DataError, Table, Texts, UsageError
from diptych.data.labelled import LabelledData, label_column
from diptych.data.splits import base_and_new, draw, few_shot, hold_out, of_classes


def data(**sizes: int) -> LabelledData:
    """Splits of 3 classes; every item is a text that says where it belongs."""
    splits = {}
    for split, n in sizes.items():
        pairs = [(f"{split} {k} {i}", k) for i in range(n) for k in range(3)]
        splits[split] = Table(
            Texts(tuple(text for text, _ in pairs)),
            {"label": label_column([str(k) for _, k in pairs], ("0", "1", "2"))},
        )
    return LabelledData("toy", ("0", "1", "2"), splits)


def texts(table: Table[str]) -> set[str]:
    return {table.items[i] for i in range(len(table))}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_few_shot_takes_min_of_shots_and_size_from_each_class(labels: list[int], shots: int, seed: int) -> None:
    drawn = few_shot(labels, shots, seed)
    assert len(set(drawn.tolist())) == len(drawn)
    for k in set(labels):
        assert sum(labels[i] == k for i in drawn) == min(shots, labels.count(k))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 2**32 - 1))
def test_held_out_items_are_of_each_class_and_no_others(labels: list[int], seed: int) -> None:
    kept, held = hold_out(labels, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for k in set(labels):
        assert sum(labels[i] == k for i in held) == len(hold_out([0] * labels.count(k), seed)[1])


@pytest.mark.parametrize(
    ("items", "held"), [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3), (8, 4), (24, 4), (25, 5), (99, 19)]
)
def test_a_fifth_is_held_out_or_up_to_four_of_few(items: int, held: int) -> None:
    assert len(hold_out([3] * items, seed=1)[1]) == held


def test_draws_are_nested_and_fixed_by_the_seed() -> None:
    labels = np.repeat(np.arange(5), 30)
    draws = {s: set(few_shot(labels, s, seed=1).tolist()) for s in (1, 2, 4, 8, 16)}
    assert draws[1] < draws[2] < draws[4] < draws[8] < draws[16]
    assert set(few_shot(labels, 4, seed=1).tolist()) == draws[4]
    assert set(few_shot(labels, 4, seed=2).tolist()) != draws[4]


def test_a_class_draws_alike_whatever_the_other_classes_are() -> None:
    labels = np.repeat([0, 1, 2], 20)
    alone = few_shot(np.where(labels == 1, 1, 3), 4, seed=0)
    assert set(few_shot(labels, 4, seed=0).tolist()) & set(range(20, 40)) == set(alone.tolist()) & set(range(20, 40))


def test_every_item_is_drawn_equally_often() -> None:
    counts = np.zeros(10)
    for seed in range(3000):
        counts[few_shot(np.zeros(10, dtype=int), 3, seed)] += 1
    assert np.abs(counts / 3000 - 0.3).max() < 0.04  # 4.8 standard errors


def test_skip_continues_the_draw() -> None:
    labels = np.repeat(np.arange(3), 10)
    whole = few_shot(labels, 6, seed=3)
    assert set(whole.tolist()) == set(few_shot(labels, 4, seed=3).tolist()) | set(
        few_shot(labels, 2, seed=3, skip=4).tolist()
    )


def test_no_shots() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        few_shot([0], 0, 0)


@pytest.mark.parametrize(("shots", "val"), [(1, 1), (2, 2), (4, 4), (16, 4)])
def test_coop_takes_at_most_four_val_items_a_class(shots: int, val: int) -> None:
    got = draw(data(train=20, val=9, test=2), shots, seed=0)
    assert (len(got.train), len(got.val), len(got.test)) == (3 * shots, 3 * val, 6)
    assert (got.measured, got.chosen_on) == ("test", "val")
    assert all(t.startswith("val") for t in texts(got.val))


def test_full_takes_all_of_val() -> None:
    assert len(draw(data(train=20, val=9, test=2), 1, seed=0, val="full").val) == 27


@pytest.mark.parametrize("sizes", [{"train": 20, "test": 2}, {"train": 20, "val": 2}])
@pytest.mark.parametrize(("rule", "size"), [("coop", 12), ("full", 12)])
def test_without_a_spare_split_choices_are_made_on_undrawn_train_items(
    sizes: dict[str, int], rule: str, size: int
) -> None:
    got = draw(data(**sizes), 16, seed=0, val=rule)  # type: ignore[arg-type]
    assert len(got.val) == size
    assert got.chosen_on == "train"
    assert got.measured == next(s for s in sizes if s != "train")
    assert not texts(got.val) & texts(got.train)
    assert not texts(got.val) & texts(got.test)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"test": 3}, "no train split"),
        ({"train": 3}, "only a train split"),
        ({"train": 4, "test": 1}, "no train item left after 4 shots"),
    ],
)
def test_draws_that_cannot_be(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw(data(**sizes), 4, seed=0)


def test_unknown_rule() -> None:
    with pytest.raises(UsageError, match="'coop' or 'full'"):
        draw(data(train=4, test=1), 1, seed=0, val="all")  # type: ignore[arg-type]


def test_halves() -> None:
    assert base_and_new(5) == ((0, 1, 2), (3, 4))
    assert base_and_new(1) == ((0,), ())


def test_of_classes_counts_anew() -> None:
    table = data(test=2).splits["test"]
    new = of_classes(table, (2, 0))
    assert texts(new) == {"test 0 0", "test 0 1", "test 2 0", "test 2 1"}
    assert all(
        int(t.split()[1]) == (2, 0)[k] for t, k in zip([new.items[i] for i in range(4)], new.labels(), strict=True)
    )


@pytest.mark.data
def test_real_folders_draw(data_root: Path) -> None:
    from diptych.data.load import open_data

    got = draw(open_data(data_root / "clothing_small"), 16, seed=1)
    assert (len(got.train), len(got.val), len(got.test), got.measured, got.chosen_on) == (160, 40, 138, "val", "train")
