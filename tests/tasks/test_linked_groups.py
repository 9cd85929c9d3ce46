from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import DataError, Run, UsageError
from diptych.data.load import open_records
from diptych.data.records.records import Records
from diptych.methods.retrieve.string_matching import StringMatching
from diptych.metrics.retrieval import b_cubed
from diptych.tasks.link import link
from diptych.tasks.linked_groups import components, group_threshold, held_out_pairs
from tests.cli.conftest import diptych  # noqa: F401

Cli = Callable[..., Any]


@pytest.fixture
def both(tmp_path: Path) -> Records:
    (tmp_path / "all.csv").write_text("name\n" + "\n".join(f"record {i}" for i in range(7)))
    return open_records(tmp_path / "all.csv", text="name")


VALUES = np.array([[0.9, 0.4], [0.8, 0.7], [0.2, 0.1]])
PLACES = np.array([[0, 3], [1, 0], [2, 3]])
"""Three left records and four right ones, which are 3 to 6 of all."""


def test_groups_are_connected_components_in_the_order_of_records(both: Records) -> None:
    assert components(both, VALUES, PLACES, 0.95).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert components(both, VALUES, PLACES, 0.75).tolist() == [0, 1, 2, 0, 1, 3, 4]
    assert components(both, VALUES, PLACES, 0.7).tolist() == [0, 0, 1, 0, 0, 2, 3]  # by way of right record 0
    assert components(both, VALUES, PLACES, 0.0).tolist() == [0] * 7  # all hang together by right record 3


def test_the_threshold_has_the_best_b_cubed_f1_on_labelled_records(both: Records) -> None:
    pairs = [(0, 0), (1, 1), (2, 2)]
    best, cubed = group_threshold(both, VALUES, PLACES, pairs, None)
    records = np.array([0, 1, 2, 3, 4, 5])
    true = np.array([0, 1, 2, 0, 1, 2])
    f1 = {t: b_cubed(components(both, VALUES, PLACES, t)[records], true)[2] for t in np.unique(VALUES)}
    assert cubed[2] == pytest.approx(max(f1.values()))
    assert f1[best] == max(f1.values())
    given, _ = group_threshold(both, VALUES, PLACES, pairs, 0.1)
    assert given == 0.1


def test_pairs_of_one_entity_are_held_out_together() -> None:
    entities = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    for seed in range(5):
        held = held_out_pairs(entities, np.random.default_rng(seed))
        assert held in [{k, k + 1} for k in range(0, 10, 2)]
    with pytest.raises(DataError, match="pairs of further records"):
        held_out_pairs([0, 0, 0], np.random.default_rng(0))


def test_chains_of_names_are_groups(diptych: Cli, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("rapidfuzz")
    names = ["north mill", "old bakery", "river bank", "iron works", "city hall"]
    left = [name for name in names for _ in range(2)]
    (tmp_path / "a.csv").write_text("id,name\n" + "".join(f"a{i},{n}{'s' * (i % 2)}\n" for i, n in enumerate(left)))
    (tmp_path / "b.csv").write_text("id,name\n" + "".join(f"b{i},{n} \n" for i, n in enumerate(names)))
    (tmp_path / "p.csv").write_text("left,right\n" + "".join(f"a{2 * i + k},b{i}\n" for i in range(5) for k in (0, 1)))
    words = ("--method", "string-matching", "--ids", "id", "--pairs", "p.csv", "--groups", "g.csv")
    got = diptych("link", "a.csv", "b.csv", *words, "--json")
    assert got.code == 0, got.err
    assert got.data["groups"] == 5
    assert got.data["labelled"]["group_f1"] == 1
    rows = list(csv.DictReader((tmp_path / "g.csv").read_text().splitlines()))
    assert len(rows) == 15
    assert [(r["table"], r["record"]) for r in rows if r["group"] == "1"] == [
        ("left", "a2"),
        ("left", "a3"),
        ("right", "b1"),
    ]
    assert diptych("link", "a.csv", "b.csv", *words, "--out", "x.csv").code == 2, "the groups exist"
    shown = diptych("link", "a.csv", "b.csv", *words[:6], "--groups", "h.csv", "--out", "y.csv")
    assert "B-cubed precision 100 % and recall 100 %" in shown.err
    a, b = (open_records(tmp_path / f"{n}.csv", text="name") for n in "ab")
    for more in ({}, {"threshold": 0.5, "one_to_one": True}):
        with pytest.raises(UsageError, match="Groups need a threshold or labelled pairs"):
            link(a, b, StringMatching(), None, Run(), grouped=True, **more)  # type: ignore[arg-type]
