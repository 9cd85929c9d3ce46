"""Boards of caption, extend, finetune and pretrain: one mechanism against a bench of known values, then each verb on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.colours import COLOURS, ColourBackbone, coloured
from tests.support.small_clip import small_clip
from tests.train.test_pair import COLOURS as SQUARES
from tests.train.test_pair import squares
from typer.testing import CliRunner

from diptych.cli.main import app
from diptych.core.errors import MissingEvidence, UsageError
from diptych.core.run import Run
from diptych.tasks.boards.verb import Measured, jobs_of, over_seeds, verb_board

NEAR, ASTRO = ("nearest-caption", ""), ("astrom3", "")


class Known:
    """A bench that knows the answers."""

    metric, base = "acc1", NEAR

    def __init__(self, values: dict[tuple[str, str], Any]) -> None:
        self.values, self.asked, self.facts = values, [], {"dataset": "known", "items": 4}

    def measure(self, slug: str, variant: str) -> Measured:
        self.asked.append((slug, variant))
        if (slug, variant) not in self.values:
            raise MissingEvidence("It needs x: give it.")
        return Measured(np.array(self.values[slug, variant], dtype=float), {"more": 2.0})


def test_rows_are_sorted_and_gain_over_the_base_in_pairs() -> None:
    own = [[1, 1, 1, 0], [1, 1, 0, 1]]
    bench = Known({NEAR: [[1, 0, 0, 0], [0, 1, 0, 0]], ("maccap", "small"): own})
    made = verb_board("caption", bench, [("maccap", "small"), NEAR, ASTRO], ColourBackbone(), Run(), seeds=(1, 2))
    assert bench.asked == [NEAR, ("maccap", "small"), ASTRO]  # the base once, and first
    best, base = made.rows
    assert (best.label, best.value.value, base.value.value) == ("maccap:small", 0.75, 0.25)
    assert best.gain is not None
    assert best.gain.value == pytest.approx(0.5)
    assert base.gain is None
    assert made.missing == {"astrom3": "It needs x: give it."}
    row = made.as_dict()["rows"][0]
    assert (row["method"], row["variant"], row["more"], row["gain"]["acc1"]) == ("maccap", "small", 2.0, 0.5)


def test_what_draws_nothing_is_measured_once() -> None:
    def once(run: Run) -> tuple[np.ndarray, dict[str, float]]:
        return np.full(3, float(run.seed)), {"seed": float(run.seed)}

    still, moved = (over_seeds(once, Run(), (4, 6), draws=draws) for draws in (False, True))
    assert still.values.tolist() == [[4] * 3] * 2
    assert moved.values.tolist() == [[4] * 3, [6] * 3]
    assert (still.others["seed"], moved.others["seed"]) == (4, 5)


def test_jobs_are_named_by_slug_and_variant() -> None:
    assert ("nearest-caption", "") in jobs_of("caption", None)
    assert jobs_of("caption", ["maccap:small"]) == [("maccap", "small")]
    with pytest.raises(UsageError, match="no variant 'big'"):
        jobs_of("caption", ["maccap:big"])
    with pytest.raises(UsageError, match="no system of caption"):
        jobs_of("caption", ["gda"])
    with pytest.raises(UsageError, match="at least one seed"):
        verb_board("caption", Known({NEAR: [[1]]}), [], ColourBackbone(), Run(), seeds=())


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
    answer = diptych("board", "caption", captioned, "--methods", "nearest-caption", "--seeds", "1", "--out", "o", "--json")
    assert answer.code == 3
    assert "bad.png" in answer.err
    assert (answer.data["items"], answer.data["sentences"]) == (10, 5)
    (row,) = answer.data["rows"]
    assert row["cider_d"] == pytest.approx(10, abs=1e-6)
    assert row["bleu4"] == pytest.approx(1)
    assert json.loads(Path("o/board.json").read_text())["verb"] == "caption"
    again = diptych("board", "caption", captioned, "--out", "o")
    assert again.code == 2
    assert "--overwrite" in again.err


def test_photos_without_a_train_split_need_sentences(diptych, captioned: Path) -> None:  # noqa: F811
    table = captioned / "only.csv"
    table.write_text("path,caption\n0.png,a red thing\n")
    assert "--texts" in diptych("board", "caption", table).err
    (captioned / "s.txt").write_text("a red thing\na blue thing\n")
    found = diptych("board", "caption", table, "--texts", captioned / "s.txt", "--methods", "nearest-caption", "--out", "p")
    assert found.code == 0
    assert "CIDEr-D" in found.out


def test_extenders_are_measured_on_clips(diptych, tmp_path: Path) -> None:  # noqa: F811
    for split, number in (("train", 2), ("test", 3)):
        for colour in ("red", "green"):
            for i in range(number):
                for frame in range(2):
                    coloured(tmp_path / "clips" / split / colour / f"{split}{i}" / f"{frame}.png", colour, i)
    out = diptych(
        "board", "extend", tmp_path / "clips", "--frames", 2, "--methods", "vifi-clip", "--seeds", "1", "--template", "{}", "--json"
    )
    assert out.code == 0, out.err
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
    plain = ["--seeds", "1,2", "--epochs", "6", "--train-batch", "20", "--lr", "0.01", "--json", "--cache", str(tmp_path / "cache")]
    found = CliRunner().invoke(app, ["board", *map(str, words), *plain, "-b", f"local:{place / 'clip'}", "--out", str(tmp_path / "o")])
    assert found.exit_code == 0, found.output
    data: dict[str, Any] = json.loads(found.stdout)
    return data


def test_trainings_start_from_one_backbone(place: Path, tmp_path: Path) -> None:
    data = board(place, tmp_path, "finetune", place / "data", "--methods", "full,geodesic-mixup", "--also", place / "data")
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
