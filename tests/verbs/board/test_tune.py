from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from tests.support.small_clip import small_clip
from tests.train.test_pair import COLOURS, squares


def test_python_measures_trainings_from_one_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    small_clip(tmp_path / "clip")
    items, colours, lines = squares(24).items, list(COLOURS), ["path,split,caption"]
    for i, item in enumerate(items[k] for k in range(24)):
        item.save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{'train' if i < 16 else 'test'},a {colours[i % 5]} square {i}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    model = diptych.load(f"local:{tmp_path / 'clip'}", engine="torch")
    words = {"methods": "clip-loss", "seeds": 1, "train_batch": 8, "captions": "caption"}
    board = diptych.board.pretrain(tmp_path / "pairs.csv", model, steps=2, out="b", **words)
    assert {row.label for row in board} == {"clip-loss", "before"}
    assert {row.label: row.others.get("steps") for row in board}["clip-loss"] == 2
    assert Path("b/board.csv").is_file()


def test_numbers_out_of_range_are_refused_before_anything_is_opened() -> None:
    with pytest.raises(UsageError, match="epochs= must be"):
        diptych.board.finetune("nowhere", epochs=0)
    with pytest.raises(UsageError, match="train_batch= must be"):
        diptych.board.pretrain("nowhere.csv", train_batch=1)
    with pytest.raises(UsageError, match="lr= must be"):
        diptych.board.pretrain("nowhere.csv", lr=-1.0)
