from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.colours import ColourBackbone

from diptych.core.run import Run
from diptych.data.records import open_records
from diptych.methods.retrieve.string_matching import StringMatching
from diptych.tasks.link import _one_to_one, link

Cli = Callable[..., Any]
NAMES = ["north mill", "south mill", "old bakery", "new bakery", "river bank", "city bank", "iron works", "glass works"]


@pytest.fixture
def tables(diptych: Cli, tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("id,name\n" + "".join(f"a{i},{n}\n" for i, n in enumerate([*NAMES, "zzzzzz"])))
    (tmp_path / "b.csv").write_text("id,name\n" + "".join(f"b{i},{n} co\n" for i, n in enumerate(reversed(NAMES))))
    (tmp_path / "p.csv").write_text("left,right\n" + "".join(f"a{i},b{7 - i}\n" for i in range(6)))
    return tmp_path


def test_names_are_linked_from_a_threshold_that_pairs_choose(diptych: Cli, tables: Path) -> None:
    got = diptych("link", "a.csv", "b.csv", "--method", "string-matching", "--pairs", "p.csv", "--ids", "id", "--json")
    assert got.code == 0
    found = {(k["left"].rpartition("[")[2], k["right"].rpartition("[")[2]) for k in got.data["links"]}
    assert found == {(f"{i}]", f"{7 - i}]") for i in range(8)}  # "zzzzzz" stays alone
    assert got.data["labelled"] == {"pairs": 6, "val": 6, "nearest_right": 1.0, "precision": 1.0, "recall": 1.0, "f1": 1.0}
    rows = list(csv.DictReader(Path("links.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert rows[0]["left_text"] == "north mill"
    assert diptych("link", "a.csv", "b.csv", "--method", "string-matching").code == 2
    alone = diptych("link", "a.csv", "b.csv", "--method", "string-matching", "--out", "all.csv")
    assert "9 of 9 records are linked" in alone.out


def test_one_to_one_is_the_best_sum_of_all_permutations() -> None:
    from itertools import permutations

    rng = np.random.default_rng(0)
    scores = rng.random((5, 5))
    places = np.argsort(-scores, axis=1)
    links = _one_to_one(np.take_along_axis(scores, places, 1), places)
    best = max(permutations(range(5)), key=lambda p: sum(scores[i, j] for i, j in enumerate(p)))
    assert [(k.left, k.right) for k in links] == list(enumerate(best))
    crowd = _one_to_one(np.array([[0.9], [0.8], [0.7]]), np.zeros((3, 1), dtype=np.int64))
    assert [(k.left, k.right) for k in crowd] == [(0, 0)]


def test_cells_cannot_become_formulas(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('name\n"=1+1"\n')
    records = open_records(str(tmp_path / "a.csv"))
    made = link(records, records, StringMatching(measure="jaccard"), None, Run())
    assert "'=1+1" in made.as_csv()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.csv", "none.csv"], "no file or folder"),
        (["a.csv", "b.csv", "--method", "gda"], "links no records"),
        (["a.csv", "b.csv", "--method", "string-matching", "--variant", "x"], "no variant"),
        (["a.csv", "b.csv", "--method", "string-matching", "--pairs", "p.csv"], "in no table"),
        (["a.csv", "b.csv", "--method", "string-matching", "--pairs", "a.csv"], "no columns left and right"),
        (["a.csv", "b.csv", "--text-columns", "a,b,c"], "one column for both"),
        (["a.csv", "b.csv", "--text-columns", "nothing"], "no column"),
    ],
)
def test_bad_input_is_one_sentence(diptych: Cli, tables: Path, words: list[str], says: str) -> None:
    got = diptych("link", *words)
    assert got.code in (1, 2)
    assert says in got.err
    assert got.out == ""


def test_the_board_measures_every_retriever_on_entities_that_it_has_not_seen(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.backbones.load.load", lambda name="lite", **more: ColourBackbone())
    lines = [f"{colour} thing {k},{colour}\n" for colour in ("red", "green", "blue", "yellow", "pink", "grey") for k in range(3)]
    (tmp_path / "t.csv").write_text("text,kind\n" + "".join(lines))
    got = diptych("board", "retrieve", "t.csv", "--entity", "kind", "--json")
    assert got.code == 0
    rows = {(r["method"], r["variant"]): r["recall@1"] for r in got.data["rows"]}
    assert rows["clippings", "mean"] == 1.0
    assert 0 < rows["chance", ""] < rows["string-matching", ""]
    assert ("clippings", "") not in rows  # trains towers: only where it is asked for
    assert got.data["items"] == 18
    assert diptych("board", "retrieve", "t.csv", "--entity", "kind").code == 2
    wrong = diptych("board", "retrieve", "t.csv", "--out", "o")
    assert wrong.code == 1
    assert "--entity" in wrong.err
    assert "no system of retrieve" in diptych("board", "retrieve", "t.csv", "--entity", "kind", "--methods", "gda", "--out", "o").err
