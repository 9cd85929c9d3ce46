from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from diptych.backbones.sources.load import load
from diptych.core import Card, DataError, Evidence, Kit, Needs, Run
from diptych.data.load import open_records
from diptych.data.records.records import Records
from diptych.methods.retrieve.string_matching import FittedStringMatching, StringMatching
from diptych.tasks.link import _one_to_one, link
from tests.support.colours import COLOURS, ColourBackbone, coloured
from tests.support.image_files import truncated

Cli = Callable[..., Any]
LOAD = load
"""The loader itself, which the fixture of the command line replaces."""
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
    found = {(k["left"], k["right"]) for k in got.data["links"]}
    assert found == {(f"a{i}", f"b{7 - i}") for i in range(8)}  # "zzzzzz" stays alone
    assert got.data["labelled"] == {
        "pairs": 6,
        "val": 6,
        "nearest_right": 1.0,
        "linked": 6,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
    }
    rows = list(csv.DictReader(Path("links.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert rows[0]["left_text"] == "north mill"
    assert (rows[0]["left"], rows[0]["right"]) == ("a0", "b7")
    assert diptych("link", "a.csv", "b.csv", "--method", "string-matching").code == 2
    alone = diptych("link", "a.csv", "b.csv", "--method", "string-matching", "--out", "all.csv")
    assert "9 of 9 records are linked" in alone.out
    assert "a.csv[0]" in Path("all.csv").read_text()  # rows, as no column names the records
    wrong = diptych("link", "a.csv", "b.csv", "--method", "string-matching", "--ids", "number", "--out", "x.csv")
    assert (wrong.code, "no column 'number'" in wrong.err) == (1, True)


@dataclass(frozen=True)
class Learning(StringMatching):
    """String matching that keeps what it is taught."""

    card: ClassVar[Card] = replace(StringMatching.card, needs=Needs(hooks=(), optional=("train",)))

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedStringMatching:
        taught.append(evidence.train)
        return super().fit(kit, Evidence(), run)


taught: list[Any] = []


def of_texts(path: Path, texts: Sequence[str]) -> Records:
    path.write_text("name\n" + "".join(f"{t}\n" for t in texts))
    return open_records(str(path))


@pytest.mark.parametrize("itself", [False, True])
def test_no_record_is_learnt_from_and_chooses_the_threshold(tmp_path: Path, itself: bool) -> None:
    left = of_texts(tmp_path / "a.csv", [f"left {i}" for i in range(40)])
    right = left if itself else of_texts(tmp_path / "b.csv", [f"right {i}" for i in range(40)])
    pairs = [
        (i, (i + 1) % 40 if itself else i - i % 4) for i in range(40) if i % 4 != 3
    ]  # groups of three pairs, by the right or in a chain
    splits = []
    for seed in (0, 0, 1):
        taught.clear()
        found = link(left, right, Learning(), None, Run(seed=seed), pairs=pairs)
        train = set(taught[0].items.names)
        sides = [{left.names[i] in train, right.names[j] in train} for i, j in pairs]
        assert all(len(side) == 1 for side in sides)
        held = [pair for pair, side in zip(pairs, sides, strict=True) if side == {False}]
        assert len(held) == 6  # a fifth, in whole groups
        assert found.labelled["val"] == len({i for i, _ in held})
        splits.append(held)
    assert splits[0] == splits[1] != splits[2]


def test_pairs_that_all_hang_together_cannot_be_split(tmp_path: Path) -> None:
    left, right = of_texts(tmp_path / "a.csv", list("abcdefgh")), of_texts(tmp_path / "b.csv", list("abcdefgh"))
    star = [(i, 0) for i in range(7)]
    with pytest.raises(DataError, match="are connected by records that they share"):
        link(left, right, Learning(), None, Run(), pairs=star)
    assert link(left, right, StringMatching(), None, Run(), pairs=star).labelled["val"] == 7
    taught.clear()
    link(left, right, Learning(), None, Run(), pairs=[*star, (7, 7)])  # a group too large to be held out is learnt from
    assert len(taught[0]) == 8


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
        (["a.csv", "b.csv", "--method", "gda"], "is no retriever"),
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
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    lines = [
        f"{colour} thing {k},{colour}\n"
        for colour in ("red", "green", "blue", "yellow", "pink", "grey")
        for k in range(3)
    ]
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
    assert (
        "no system of retrieve"
        in diptych("board", "retrieve", "t.csv", "--entity", "kind", "--methods", "gda", "--out", "o").err
    )
    (tmp_path / "t.csv").write_text("text,kind\n" + "".join(lines[:3]))
    alone = diptych("board", "retrieve", "t.csv", "--entity", "kind", "--out", "o")
    assert alone.code == 1
    assert "are of 1 entities: give 3 or more" in alone.err


def test_a_record_that_cannot_be_read_is_left_out_and_named(diptych: Cli, tmp_path: Path) -> None:
    for name in ("red", "blue", "green"):
        coloured(tmp_path / "a" / f"{name}.png", name, 1, noise=5.0)
        coloured(tmp_path / "b" / f"{name}.png", name, 2, noise=5.0)
    truncated(tmp_path / "a" / "half.jpg")
    got = diptych("link", "a", "b", "--json")
    assert (got.code, "half.jpg" in got.err) == (3, True)
    linked = {(Path(k["left"]).name, Path(k["right"]).name) for k in got.data["links"]}
    assert linked == {(f"{n}.png", f"{n}.png") for n in ("red", "blue", "green")}
    assert [Path(s["path"]).name for s in got.data["skipped"]] == ["half.jpg"]
    assert len(Path("links.csv").read_text().splitlines()) == 4
    (tmp_path / "only").mkdir()
    truncated(tmp_path / "only" / "half.jpg")
    got = diptych("link", "only", "b", "--out", "none.csv")
    assert (got.code, "The only record cannot be read" in got.err) == (1, True)


def test_pairs_keep_their_records_where_others_are_left_out(diptych: Cli, tmp_path: Path) -> None:
    truncated(tmp_path / "0.jpg")
    rows = ["path,name", "0.jpg,broken"]
    for i, name in enumerate(list(COLOURS) * 2):
        coloured(tmp_path / f"{i}.png", name, i, noise=2.0)
        rows.append(f"{i}.png,{name} {i}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    (tmp_path / "p.csv").write_text("left,right\n" + "".join(f"{i},{i}\n" for i in range(11)))
    got = diptych("link", "t.csv", "t.csv", "--pairs", "p.csv", "--variant", "mean", "--json")
    assert got.code == 3
    assert got.data["labelled"]["pairs"] == 10
    assert got.data["labelled"]["nearest_right"] == 1.0
    assert len(got.data["skipped"]) == 1


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_threshold_is_a_number(diptych: Cli, tables: Path, value: str) -> None:
    got = diptych("link", "a.csv", "b.csv", "--method", "string-matching", "--threshold", value)
    assert (got.code, f"must be a finite score, got {value}" in got.err) == (2, True)
    assert not Path("links.csv").exists()


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_links_and_groups_have_a_file_each(diptych: Cli, tables: Path, more: tuple[str, ...]) -> None:
    words = ("link", "a.csv", "b.csv", "--method", "string-matching", "--out", "same.csv", "--groups", "./same.csv")
    got = diptych(*words, *more)
    assert (got.code, "a file of its own" in got.err) == (2, True), got.err
    assert not (tables / "same.csv").exists()


def test_long_texts_are_cut_as_the_authors_do(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", LOAD)
    names = ("a red mill by a river", "an old bakery", "iron works")
    long = " and then some more words of no use" * 20
    for side, end in (("a", long), ("b", "")):
        (tmp_path / f"{side}.csv").write_text(
            "id,name\n" + "".join(f"{side}{i},{n}{end}\n" for i, n in enumerate(names))
        )
    (tmp_path / "cut.csv").write_text(
        "id,name\n" + "".join(f"c{i},{n}{long[: len(long) // 2]}\n" for i, n in enumerate(names))
    )
    words = ("--variant", "text", "--backbone", "tiny", "--engine", "torch", "--ids", "id", "--json")
    got = diptych("link", "a.csv", "cut.csv", *words)
    assert got.code == 0, got.err
    assert [(k["left"], k["right"]) for k in got.data["links"]] == [(f"a{i}", f"c{i}") for i in range(3)]
    assert {k["score"] for k in got.data["links"]} == {1.0}, "both are cut to the same start"
    assert got.data["cut_texts"] == 6
    assert any("6 texts longer than the model reads" in remark for remark in got.data["remarks"])
    got = diptych("link", "b.csv", "b.csv", *words, "--out", "b-b.csv")
    assert (got.code, "cut_texts" in got.data) == (0, False)


def test_an_earlier_table_is_replaced_where_that_is_asked_for(diptych: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\na0,north mill\na1,iron works\n")
    words = ("link", "a.csv", "a.csv", "-m", "string-matching")
    assert (diptych(*words).code, diptych(*words).code, diptych(*words, "--overwrite").code) == (0, 2, 0)
    (tmp_path / "file").touch()
    got = diptych(*words, "--out", "file/links.csv")
    assert (got.code, "would be a folder there" in got.err) == (2, True)
