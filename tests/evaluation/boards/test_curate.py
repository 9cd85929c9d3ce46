"""The board of curators: pictures of colours, some of whose captions were exchanged, and captions whose words follow
Zipf's law.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import DataError, Run, Texts, UnreadableItem, UsageError
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.caption_pool import CaptionPool, caption_pool
from diptych.evaluation.boards.curate import CurateBench, threshold
from diptych.features.embed import embed
from diptych.methods.curate.metaclip import entry_probabilities, keep_probabilities
from diptych.metrics.ratio import ratio_gain
from diptych.nn.text.substrings import Matcher
from diptych.nn.vector_head import fit_head
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.colours import COLOURS, ColourBackbone, coloured

Cli = Callable[..., Any]


def write_table(folder: Path, rows: list[list[str]], name: str = "captions.csv") -> None:
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([["path", "caption_0", "caption_1"], *rows])


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """40 pictures of five colours, two captions each, in a folder that DIPTYCH_DATA could name, and the colours as
    metadata.
    """
    folder, rows = tmp_path / "paint", []
    for i in range(40):
        colour = list(COLOURS)[i % 5]
        coloured(folder / f"{i}.png", colour, i, noise=5.0)
        rows.append([f"{i}.png", f"a {colour} thing", f"{colour} paint"])
    write_table(folder, rows)
    (tmp_path / "names.txt").write_text("\n".join([*COLOURS, "thing"]))
    return folder


def zipf(number: int = 200) -> CaptionPool:
    rng = np.random.default_rng(0)
    words = np.minimum(rng.zipf(1.3, size=(number, 3, 2)), 60)
    said = tuple(tuple(" ".join(f"word{w}" for w in own) for own in photo) for photo in words)
    return CaptionPool("zipf", Texts(tuple(map(str, range(number)))), said)


def rows_of(answer: Any) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in answer.data["rows"]}


def test_a_filter_of_pairs_finds_the_right_ones_and_a_balance_of_texts_does_not(
    diptych: Cli,  # noqa: F811
    pool: Path,
    monkeypatch,
) -> None:
    monkeypatch.setenv("DIPTYCH_DATA", str(pool.parent))
    monkeypatch.chdir(pool)
    answer = diptych("board", "curate", "paint", "--metadata", "../names.txt", "--json", "--out", "../o")
    assert answer.code == 0, answer.err
    rows, data = rows_of(answer), answer.data
    assert set(rows) == {"random", "clip-score", "metaclip", "semdedup", "caption-checks"}
    assert "needs a head on labelled pictures" in data["missing"]["vector-head"]
    assert rows["random"]["photos"] == 1
    assert rows["semdedup"]["photos"] >= 1
    assert rows["semdedup"]["kept"] <= 0.5, "one pair of a photo at most is kept"
    assert (data["base"], data["items"], data["photos"], data["entries_met"]) == ("random", 80, 40, 6)
    assert (data["wrong"], data["keep"], data["dataset"]) == (0.3, 0.5, "paint")
    score, balanced, plain = rows["clip-score"], rows["metaclip"], rows["random"]
    assert (plain["kept"], plain["balance"], plain["gain"]) == (0.5, 1, None)
    assert score["precision"] > 0.95 > plain["precision"]
    assert score["gain"]["ci95"][0] > 0
    assert score["kept"] <= 0.5
    assert balanced["gain"]["ci95"][0] <= 0 <= balanced["gain"]["ci95"][1]
    assert balanced["t"] >= 1
    assert balanced["kept"] == pytest.approx(0.5, abs=0.15)
    assert "t" not in score
    assert json.loads((pool.parent / "o" / "board.json").read_text())["verb"] == "curate"
    shown = diptych(
        "board", "curate", "paint", "--metadata", "../names.txt", "--methods", "clip-score", "--out", "../p"
    )
    assert "right % (95 %)" in shown.out
    assert "paint: 80 items" in shown.out


def test_a_variant_keeps_what_its_card_says(diptych: Cli, pool: Path) -> None:  # noqa: F811
    words = ["--metadata", "names.txt", "--seeds", "1", "--methods", "metaclip:matched,clip-score:0.28", "--json"]
    rows = rows_of(diptych("board", "curate", pool, *words))
    assert rows["metaclip"]["kept"] == 1
    assert "t" not in rows["metaclip"]  # infinite
    assert rows["clip-score"]["kept"] > 0.5


def test_pictures_that_cannot_be_read_are_left_out_with_their_captions(diptych: Cli, pool: Path) -> None:  # noqa: F811
    (pool / "0.png").write_text("no picture")
    answer = diptych("board", "curate", pool / "captions.csv", "--metadata", "names.txt", "--seeds", "1", "--json")
    assert answer.code == UnreadableItem.exit_code
    assert (answer.data["items"], answer.data["photos"]) == (78, 39)
    assert "0.png" in answer.data["skipped"][0]
    for path in pool.glob("*.png"):
        path.write_text("no picture")
    with pytest.raises(DataError, match="None of the 40 photos"):
        caption_pool(str(pool), "caption*", 0.3, 0.5)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere.csv"], 2, "nowhere.csv"),
        (["paint", "--captions", "title*"], 1, "has no column 'title*'"),
        (["paint/bare.csv"], 1, "has no caption in caption*"),
        (["paint/alike.csv"], 1, "makes no pair wrong"),
        (["paint", "--wrong", "0"], 2, "--wrong takes a share of the pairs in (0, 1)"),
        (["paint", "--wrong", "1.5"], 2, "--wrong takes a share of the pairs in (0, 1)"),
        (["paint", "--keep", "1"], 2, "--keep takes a share of the pairs in (0, 1)"),
        (["paint", "--keep", "nan"], 2, "--keep takes a share of the pairs in (0, 1)"),
        (["paint", "--wrong", "0.02"], 1, "are too few for --wrong 0.02 and --keep 0.5: give at least 100."),
        (["paint", "--metadata", "absent.txt"], 2, "absent.txt"),
        (["paint", "--metadata", "other.txt"], 1, "name no entry of other.txt"),
        (["paint", "--methods", "gda"], 2, "no system of curate"),
    ],
)
def test_wrong_calls_are_one_sentence(diptych: Cli, pool: Path, words: list[str], code: int, says: str) -> None:  # noqa: F811
    write_table(pool, [["0.png", "a red thing", ""], ["1.png", "", ""]], "bare.csv")
    write_table(pool, [["0.png", "a red thing", "red paint"], ["1.png", "a red thing", "red paint"]] * 3, "alike.csv")
    (pool.parent / "other.txt").write_text("submarine")
    metadata = [] if "--metadata" in words else ["--metadata", "names.txt"]
    answer = diptych("board", "curate", *words, *metadata)
    assert (answer.code, says in answer.err) == (code, True), answer.err
    assert not Path("out/board-curate").exists()


def test_what_keeps_nothing_is_named(pool: Path) -> None:
    opened = caption_pool(str(pool), "caption*", 0.3, 0.5)
    bench = CurateBench(opened, ColourBackbone(), Run(), (1,), str(pool.parent / "names.txt"))
    with pytest.raises(UsageError, match="no curator"):
        bench.measure(Arm("gda"))
    few = replace(opened, keep=0.03)  # fewer than share the uppermost cell of the histogram
    with pytest.raises(DataError, match="keeps none of them"):
        CurateBench(few, ColourBackbone(), Run(), (1,), str(pool.parent / "names.txt")).measure(Arm("clip-score"))


def test_metaclip_evens_out_captions_of_few_common_words(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(f"word{w}" for w in range(1, 61)))
    bench = CurateBench(zipf(), ColourBackbone(), Run(), (1, 2, 3), str(tmp_path / "words.txt"))
    plain, own = bench.measure(Arm("random")), bench.measure(Arm("metaclip"))
    assert plain.values.shape == own.values.shape == (3, 200, 2)
    assert plain.others["balance"] == 1
    assert own.others["balance"] > 1.2
    assert own.others["kept"] == pytest.approx(0.5, abs=0.05)
    gain = ratio_gain(own.values, plain.values, 0)
    assert gain.low <= 0 <= gain.high


def test_balance_is_the_effective_number_of_entries_over_that_of_as_many_at_random(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\nb\nc")
    made = CaptionPool("few", Texts(("0", "1")), (("a", "a", "b"), ("b c", "a b", "c", "c")))
    bench = CurateBench(made, ColourBackbone(), Run(), (1,), str(tmp_path / "words.txt"))
    assert bench.balance(np.array([0, 2]), np.array([1, 0, 2, 3, 4, 5, 6])) == pytest.approx(2)  # a and b, over a alone
    uneven = np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)))
    assert bench.balance(np.array([0, 1, 2]), np.array([0, 2, 5, 1, 3, 4, 6])) == pytest.approx(uneven / 3)


def test_t_keeps_the_share_that_is_asked() -> None:
    texts, words = zipf().texts, tuple(f"word{w}" for w in range(1, 61))
    rows, found = Matcher(words).match(texts)
    counts = np.bincount(found, minlength=60).astype(np.uint64)
    for share in (0.3, 0.7):
        t = threshold(rows, found, len(texts), share)
        assert keep_probabilities(rows, found, entry_probabilities(counts, t), len(texts)).mean() == pytest.approx(
            share, abs=0.001
        )
    assert threshold(rows, found, len(texts), 1e-9) == 1  # t goes no lower
    assert threshold(rows, found, 2 * len(texts), 0.7) == pytest.approx(counts.max())  # half of the texts match nothing


def test_a_head_has_a_row_where_it_is_given(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.nn.vector_head.LEAST", 1)
    monkeypatch.setattr("diptych.nn.vector_head.FOLDS", 2)
    opened, backbone = caption_pool(str(pool), "caption*", 0.3, 0.2), ColourBackbone()
    x, first = embed(backbone.image, opened.photos, Run()).numpy(), np.arange(40) % 5 == 0
    fit_head(x, first, x, first, name="first colour", backbone=backbone.fingerprint).save(pool.parent / "head")
    bench = CurateBench(opened, backbone, Run(), (1, 2), str(pool.parent / "names.txt"), head=str(pool.parent / "head"))
    pairs = opened.pairs(Run(seed=1))
    kept = bench.selected(bench.curator("vector-head"), pairs, Run(seed=1))
    assert set(pairs.photos[kept] % 5) == {0}
    measured = bench.measure(Arm("vector-head"))
    assert measured.values.shape[0] == 2
    assert 0 < measured.others["kept"] <= 0.2
    assert bench.facts["head"] == str(pool.parent / "head")
