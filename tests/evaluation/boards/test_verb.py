"""Boards of all verbs but classify: one mechanism against a bench of known values, then four verbs on the command line.

Those of detect, retrieve and segment stand in tests/cli beside their verbs.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from diptych.cli.main import app
from diptych.core import DataError, MissingEvidence, Run, UsageError
from diptych.evaluation.arms import MEANS, Arm, Measured, Statistic, over_seeds
from diptych.evaluation.boards.choice import arms_of
from diptych.evaluation.boards.verb import verb_board
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import both_ends
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.colours import COLOURS, ColourBackbone, coloured
from tests.support.small_clip import small_clip
from tests.train.test_pair import COLOURS as SQUARES
from tests.train.test_pair import squares

NEAR, SMALL, ASTRO = Arm("nearest-caption"), Arm("maccap", "small"), Arm("astrom3")


class Known:
    """A bench that knows the answers, or raises them."""

    metric, statistic, always, failed = "acc1", MEANS, (NEAR,), ()

    def __init__(self, values: dict[Arm, Any], seeds: tuple[int, ...] = (1, 2)) -> None:
        self.values, self.seeds, self.asked, self.facts = values, seeds, [], {"dataset": "known", "items": 4}
        self.backbone, self.run = ColourBackbone(), Run()

    def measure(self, arm: Arm) -> Measured:
        self.asked.append(arm)
        found = self.values.get(arm, MissingEvidence("It needs x: give it."))
        if isinstance(found, BaseException):
            raise found
        return Measured(np.array(found, dtype=float), {"more": 2.0}, (1,))


PLAIN, OWN = [[1, 0, 0, 0], [0, 1, 0, 0]], [[1, 1, 1, 0], [1, 1, 0, 1]]


def test_rows_are_sorted_and_gain_over_the_base_in_pairs(tmp_path: Path) -> None:
    bench = Known({NEAR: PLAIN, SMALL: OWN})
    finished_board = verb_board("caption", bench, [SMALL, NEAR, ASTRO])
    assert bench.asked == [NEAR, SMALL, ASTRO]  # the base once, and first
    best, base = finished_board.rows
    assert (best.label, best.value.value, base.value.value) == ("maccap:small", 0.75, 0.25)
    assert best.gain is not None
    assert best.gain.value == pytest.approx(0.5)
    assert base.gain is None
    assert finished_board.missing == {"astrom3": "It needs x: give it."}
    data = finished_board.as_dict()
    row = data["rows"][0]
    assert (row["method"], row["variant"], row["more"], row["gain"]["acc1"]) == ("maccap", "small", 2.0, 0.5)
    assert (data["verb"], data["base"], data["complete"], data["skipped"]) == ("caption", "nearest-caption", True, [])
    finished_board.write(tmp_path)
    with (tmp_path / "board.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["method"], first["variant"], first["acc1_gain"], first["more"]) == ("maccap", "small", "0.5", "2.0")
    assert second["acc1_gain"] == ""
    with pytest.raises(UsageError, match="overwrite"):
        finished_board.write(tmp_path)


def test_another_statistic_makes_the_metric_from_what_was_counted() -> None:
    bench = Known({NEAR: [[1.0, 4.0]], SMALL: [[5.0, 4.0]]}, seeds=(1,))
    largest = lambda values: float(np.max(values))  # noqa: E731
    bench.statistic = Statistic(
        lambda values, seed: Interval(largest(values), 0.0, 9.0),
        lambda a, b, seed: both_ends(
            lambda x, y, level: Interval(largest(x) - largest(y), largest(x) - largest(y) - level, np.inf), a, b
        ),
    )
    best, base = verb_board("caption", bench, [SMALL]).rows
    assert (best.value.value, base.value.value) == (5, 4)
    assert best.gain == Interval(1.0, 1 - 0.975, 1 + 0.975)


def test_a_fault_costs_its_row_and_a_fault_of_the_base_the_board() -> None:
    finished_board = verb_board(
        "caption", Known({NEAR: PLAIN, SMALL: ValueError("odd"), ASTRO: DataError("Give more.")}), [SMALL, ASTRO]
    )
    assert finished_board.missing["astrom3"] == "Give more."
    assert "please report it: ValueError: odd" in finished_board.missing["maccap:small"]
    with pytest.raises(DataError, match="Give more"):
        verb_board("caption", Known({NEAR: DataError("Give more."), SMALL: OWN}), [SMALL])
    lacking = verb_board("caption", Known({SMALL: OWN}), [SMALL])  # the base does not fit: a board without gains
    assert [(r.label, r.gain) for r in lacking.rows] == [("maccap:small", None)]


def test_a_board_that_is_stopped_keeps_the_rows_that_were_finished() -> None:
    finished_board = verb_board("caption", Known({NEAR: PLAIN, SMALL: KeyboardInterrupt(), ASTRO: OWN}), [SMALL, ASTRO])
    assert [r.label for r in finished_board.rows] == ["nearest-caption"]
    assert finished_board.interrupted
    assert finished_board.as_dict()["complete"] is False
    with pytest.raises(KeyboardInterrupt):
        verb_board("caption", Known({NEAR: KeyboardInterrupt()}), [SMALL])


def test_the_budget_leaves_out_what_comes_too_late_but_never_the_base() -> None:
    bench = Known({NEAR: PLAIN, SMALL: OWN})
    finished_board = verb_board("caption", bench, [SMALL], budget=1e-9)
    assert [r.label for r in finished_board.rows] == ["nearest-caption"]
    assert finished_board.late == {"maccap:small": "the budget of 1e-09 s was spent."}
    assert finished_board.as_dict()["complete"] is False
    assert len(verb_board("caption", bench, [SMALL], budget=100).rows) == 2
    with pytest.raises(UsageError, match="above 0"):
        verb_board("caption", bench, [SMALL], budget=0)


def test_what_draws_nothing_is_measured_once() -> None:
    def once(run: Run) -> tuple[np.ndarray, dict[str, float]]:
        return np.full(3, float(run.seed)), {"seed": float(run.seed)}

    still, moved = (over_seeds(once, Run(), (4, 6), draws=draws) for draws in (False, True))
    assert still.values.tolist() == [[4] * 3] * 2
    assert moved.values.tolist() == [[4] * 3, [6] * 3]
    assert (still.others["seed"], moved.others["seed"]) == (4, 5)
    assert (still.seeds, moved.seeds) == ((4,), (4, 6))


def test_arms_are_named_by_slug_and_variant() -> None:
    assert NEAR in arms_of("caption", None)
    assert SMALL not in arms_of("caption", None)
    assert {NEAR, SMALL} <= set(arms_of("caption", None, every=True))
    assert NEAR not in arms_of("caption", None, every=True, without=(NEAR,))
    assert arms_of("caption", ["maccap:small"]) == [SMALL]
    with pytest.raises(UsageError, match="no variant 'big'"):
        arms_of("caption", ["maccap:big"])
    with pytest.raises(UsageError, match="no system of caption"):
        arms_of("caption", ["gda"])
    with pytest.raises(UsageError, match="at least one seed"):
        verb_board("caption", Known({NEAR: [[1]]}, seeds=()), [])


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    rows = []
    for i in range(15):
        colour = list(COLOURS)[i % 5]
        coloured(tmp_path / f"{i}.png", colour, i, noise=5.0)
        rows.append([f"{i}.png", "train" if i < 5 else "test", f"a {colour} thing on a table"])
    (tmp_path / "bad.png").write_text("no picture")
    rows.append(["bad.png", "test", "a black thing"])
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "split", "caption_0"], *rows])
    return tmp_path


def test_captioners_learn_from_train_and_skip_what_cannot_be_read(diptych, captioned: Path) -> None:  # noqa: F811
    answer = diptych(
        "board", "caption", captioned, "--methods", "nearest-caption", "--seeds", "1", "--out", "o", "--json"
    )
    assert answer.code == 3
    assert "bad.png" in answer.err
    assert (answer.data["items"], answer.data["sentences"]) == (10, 5)
    (row,) = answer.data["rows"]
    assert row["cider_d"] == pytest.approx(10, abs=1e-6)
    assert row["bleu4"] == pytest.approx(1)
    assert json.loads(Path("o/board.json").read_text())["verb"] == "caption"
    assert "bad.png" in answer.data["skipped"][0]
    assert Path("o/board.csv").read_text().startswith("method,variant,cider_d,")
    repeated = diptych("rerun", "o/board.json")
    assert repeated.code == 1
    assert "A board of caption is repeated by its own command" in repeated.err
    again = diptych("board", "caption", captioned, "--out", "o")
    assert again.code == 2
    assert "--overwrite" in again.err


def test_an_interrupted_board_is_written_and_gives_code_130(diptych, captioned: Path, monkeypatch) -> None:  # noqa: F811
    from diptych.methods.caption.maccap import MacCap

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MacCap, "fit", interrupt)
    answer = diptych("board", "caption", captioned, "--methods", "maccap", "--seeds", "1", "--out", "o")
    assert answer.code == 130
    assert "Interrupted" in answer.err
    assert "nearest-caption" in answer.out
    written = json.loads(Path("o/board.json").read_text())
    assert (written["complete"], [r["method"] for r in written["rows"]]) == (False, ["nearest-caption"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere.csv"], 2, "nowhere.csv"),
        (["{folder}", "--seeds", "many"], 2, "whole numbers"),
        (["{folder}", "--seeds", ""], 2, "at least one seed"),
        (["{folder}", "--budget", "-1"], 2, "above 0"),
        (["{folder}", "--methods", "gda"], 2, "no system of caption"),
    ],
)
def test_wrong_calls_are_one_sentence(diptych, captioned: Path, words: list[str], code: int, says: str) -> None:  # noqa: F811
    answer = diptych("board", "caption", *[w.replace("{folder}", str(captioned)) for w in words])
    assert (answer.code, says in answer.err) == (code, True), answer.err
    assert not Path("out/board-caption").exists()


def test_photos_without_a_train_split_need_sentences(diptych, captioned: Path) -> None:  # noqa: F811
    table = captioned / "only.csv"
    table.write_text("path,caption\n0.png,a red thing\n")
    assert "--texts" in diptych("board", "caption", table).err
    (captioned / "s.txt").write_text("a red thing\na blue thing\n")
    answer = diptych(
        "board", "caption", table, "--texts", captioned / "s.txt", "--methods", "nearest-caption", "--out", "p"
    )
    assert answer.code == 0
    assert "CIDEr-D" in answer.out


def test_extenders_are_measured_on_clips(diptych, tmp_path: Path) -> None:  # noqa: F811
    for split, number in (("train", 2), ("test", 3)):
        for colour in ("red", "green"):
            for i in range(number):
                for frame in range(2):
                    coloured(tmp_path / "clips" / split / colour / f"{split}{i}" / f"{frame}.png", colour, i)
    out = diptych(
        "board",
        "extend",
        tmp_path / "clips",
        "--frames",
        2,
        "--methods",
        "vifi-clip,clip2point",
        "--seeds",
        "1",
        "--template",
        "{}",
        "--json",
    )
    assert out.code == 0, out.err
    assert "CLIP2Point takes clouds, and these are clips." in str(out.data) + out.err
    assert out.data["rows"][0]["method"] == "frame-mean"
    assert out.data["rows"][0]["acc1"] == 1
    assert (out.data["items"], out.data["clips"]) == (6, 4)
    assert "vifi-clip" in out.data["missing"]  # this backbone has no tower


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tuning")
    small_clip(root / "clip")
    items, names, lines = squares(60).items, list(SQUARES), ["path,split,caption"]
    for i in range(60):
        split, name = "train" if i < 40 else "test", names[i % 5]
        file = root / "data" / split / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        items[i].save(file)
        lines.append(f"data/{split}/{name}/{i}.png,{split},a {name} square {i}")
    (root / "pairs.csv").write_text("\n".join(lines))
    return root


def board(place: Path, tmp_path: Path, *words: str | Path) -> dict[str, Any]:
    plain = [
        "--seeds",
        "1,2",
        "--epochs",
        "6",
        "--train-batch",
        "20",
        "--lr",
        "0.001",
        "--json",
        "--cache",
        str(tmp_path / "cache"),
    ]
    result = CliRunner().invoke(
        app, ["board", *map(str, words), *plain, "-b", f"local:{place / 'clip'}", "--out", str(tmp_path / "o")]
    )
    assert result.exit_code == 0, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def test_trainings_start_from_one_backbone(place: Path, tmp_path: Path) -> None:
    data = board(
        place, tmp_path, "finetune", place / "data", "--methods", "full,geodesic-mixup", "--eval-data", place / "data"
    )
    rows = {r["method"]: r for r in data["rows"]}
    assert set(rows) == {"before", "full", "geodesic-mixup"}
    assert rows["full"]["acc1"] > rows["before"]["acc1"]
    assert rows["full"]["gain"]["acc1"] == pytest.approx(rows["full"]["acc1"] - rows["before"]["acc1"])
    assert rows["full"]["acc1 on data"] == pytest.approx(rows["full"]["acc1"])  # the same photos


def test_pretrainings_need_their_parts(place: Path, tmp_path: Path) -> None:
    data = board(place, tmp_path, "pretrain", place / "pairs.csv", "--methods", "clip-loss,laclip")
    assert {r["method"] for r in data["rows"]} == {"before", "clip-loss"}
    assert "laclip" in data["missing"]
    assert all(0 <= r["recall_at_1"] <= 1 for r in data["rows"])


def test_a_named_teacher_joins_the_board(place: Path, tmp_path: Path) -> None:
    rows = [place / "pairs.csv", "--parts", "all", "--methods", "dc-clip:embeddings"]
    data = board(place, tmp_path, "pretrain", *rows, "--teacher", f"local:{place / 'clip'}")
    assert {r["method"] for r in data["rows"]} == {"before", "dc-clip"}, data["missing"]


@pytest.fixture
def spoilt(place: Path, tmp_path: Path) -> Path:
    """The same folders and table, of which one train and one test photo cannot be read."""
    shutil.copytree(place / "data", tmp_path / "data")
    for split, content in (("train", b""), ("test", b"no picture")):
        sorted((tmp_path / "data" / split / "red").iterdir())[0].write_bytes(content)
    shutil.copy(place / "pairs.csv", tmp_path)
    return tmp_path


@pytest.mark.parametrize("parts", ["heads", "all"])
@pytest.mark.parametrize(
    ("verb", "source", "method"), [("finetune", "data", "full"), ("pretrain", "pairs.csv", "clip-loss")]
)
def test_trainings_leave_out_what_cannot_be_read(
    place: Path, spoilt: Path, verb: str, source: str, method: str, parts: str
) -> None:
    plain = [
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--train-batch",
        "39",
        "--json",
        "--cache",
        str(spoilt / "cache"),
        "--out",
        str(spoilt / "o"),
    ]
    more = ["--eval-data", str(spoilt / "data")] if verb == "finetune" else []
    words = [
        "board",
        verb,
        str(spoilt / source),
        "--methods",
        method,
        "--parts",
        parts,
        "-b",
        f"local:{place / 'clip'}",
    ]
    result = CliRunner().invoke(app, [*words, *plain, *more])
    assert result.exit_code == 3, result.output
    data = json.loads(result.stdout)
    assert (data["items"], data["train"]) == (19, 39)
    assert {r["method"] for r in data["rows"]} == {"before", method}
    reasons = [line.rpartition(": ")[2] for line in data["skipped"]]
    assert reasons == [
        "empty file",
        "not a picture of a known format",
        *(["not a picture of a known format"] if more else []),
    ]
    assert f"{len(reasons)} skipped:" in result.stderr


def test_a_caption_that_is_too_long_stops_the_board_before_any_row(place: Path, tmp_path: Path) -> None:
    lines = (place / "pairs.csv").read_text().splitlines()
    (place / "long.csv").write_text(
        "\n".join([*lines[:-30], f"{lines[-30].rpartition(',')[0]},{'very ' * 90}", *lines[-29:]])
    )
    words = [
        "board",
        "pretrain",
        str(place / "long.csv"),
        "--methods",
        "clip-loss",
        "--seeds",
        "1",
        "-b",
        f"local:{place / 'clip'}",
    ]
    result = CliRunner().invoke(
        app, [*words, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "o"), "--parts", "all"]
    )
    assert result.exit_code == 2
    assert ".png: The text 'very" in result.stderr
    assert not (tmp_path / "o").exists()


def test_retrievers_leave_out_records_whose_picture_cannot_be_read(diptych, tmp_path: Path) -> None:  # noqa: F811
    rows = []
    for k, colour in enumerate(COLOURS):
        rows += [
            [coloured(tmp_path / f"{colour}{i}.png", colour, i, noise=5.0).name, f"{colour} thing {i}", colour]
            for i in range(3)
        ]
        if k == 0:
            (tmp_path / f"{colour}0.png").write_text("no picture")
    rows += [["gone.png", "a red thing", "lone"], ["", "grey words", "red"]]
    with (tmp_path / "records.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "text", "entity"], *rows])
    answer = diptych("board", "retrieve", "records.csv", "--methods", "string-matching", "--seeds", "1", "--json")
    assert answer.code == 3
    assert [line.rpartition(": ")[2] for line in answer.data["skipped"]] == [
        "not a picture of a known format",
        "no such file",
    ]
    assert (answer.data["items"], answer.data["entities"]) == (15, 5)  # nothing is left of "lone"
    assert {r["method"] for r in answer.data["rows"]} == {"clippings", "chance", "string-matching"}


@pytest.mark.parametrize("verb", ["finetune", "extend"])
def test_data_of_one_class_are_refused(diptych, tmp_path: Path, verb: str) -> None:  # noqa: F811
    for split in ("train", "test"):
        for i in range(2):
            name = f"{i}/0.png" if verb == "extend" else f"{i}.png"
            coloured(tmp_path / "red" / split / "red" / name, "red", i)
    answer = diptych("board", verb, tmp_path / "red", "--seeds", "1")
    assert answer.code == 1
    assert "red has one class, 'red', and everything would be right" in answer.err
    assert not Path(f"out/board-{verb}").exists()
