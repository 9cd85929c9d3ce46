from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools import which_objective as tool


def score(value: float, gain: float | None, p: float = 0.001) -> dict[str, Any]:
    told = None if gain is None else {"value": gain, "ci95": [gain - 0.05, gain + 0.05], "p": p}
    return {"value": value, "ci95": [value - 0.1, value + 0.1], "gain": told}


def row(
    name: str, length: str, r1: float, gain: float | None, boxes: float, over: float | None, steps: int, seconds: float
) -> dict[str, Any]:
    slug, _, variant = name.partition(":")
    main = score(r1, gain)
    told = None if gain is None else {"recall_at_1": gain, "ci95": main["gain"]["ci95"], "p": main["gain"]["p"]}
    parts = {"region_accuracy": score(boxes, over, 0.9), "recall_at_5": score(r1, gain)}
    trained = {"steps": steps, "train_seconds": seconds} if steps else {}
    return {
        "method": slug, "variant": variant, "length": length, "recall_at_1": r1, "ci95": main["ci95"], "gain": told,
        "seeds": [1, 2, 3], "parts": parts, **trained,
    }  # fmt: skip


def board(**more: Any) -> dict[str, Any]:
    fit = {"batch": 8, "lr": 1e-3, "seconds": None}
    rows = [
        row("cloob", "4 steps", 0.6, 0.1, 0.3, 0.1, 4, 1.0),
        row("cloc", "4 steps", 0.4, -0.1, 0.4, 0.2, 4, 3.0),
        row("clip-loss", "4 steps", 0.5, None, 0.2, None, 4, 2.0),
        row("cloob", "2 s", 0.7, 0.2, 0.1, -0.1, 8, 2.0),
        row("cloc", "2 s", 0.4, -0.1, 0.3, 0.1, 3, 2.0),
        row("clip-loss", "2 s", 0.5, None, 0.2, None, 4, 2.0),
        row("before", "", 0.65, None, 0.2, None, 0, 0.0),
    ]
    return {
        "kind": "board", "verb": "pretrain", "dataset": "d", "backbone": "tiny", "base": "clip-loss", "parts": "all",
        "metric": "recall_at_1", "fit": fit, "lengths": {"4 steps": fit, "2 s": {**fit, "seconds": 2.0}}, "rows": rows,
        "train": 10, "items": 5, "seeds": [1, 2, 3], "regions": {"boxes": 7, "names": 3, "background_alone": 0.4},
        "missing": {"laclip, 4 steps": "It needs a writer."}, "late": {}, "command": "diptych board pretrain d", **more,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tool, "BOARDS", tmp_path / "boards")
    monkeypatch.setattr(tool, "PAGE", tmp_path / "page.md")
    (tmp_path / "boards").mkdir()
    return tmp_path / "boards"


def test_six_lines_come_first_and_name_what_is_shown_at_both_lengths(folder: Path, tmp_path: Path) -> None:
    (folder / "a.json").write_text(json.dumps(board()))
    (folder / "b.json").write_text(json.dumps(board(base="before")))  # no comparison of objectives: passed over
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert (
        "| find pictures by words, and words by pictures | `cloob` | +10.0 (+5.0 to +15.0) after 4 steps; "
        "+20.0 (+15.0 to +25.0) after 2 s |"
    ) in text
    assert "| name boxes | `clip-loss`: nothing is shown to be better | the best other, `cloc`: +20.0" in text
    assert "| spend little | `cloob` | a step of `cloob` takes 0.50 of the time, of `cloc` 1.50 |" in text
    changes = "| know what training changes | `clip-loss`, 4 steps | R@1 65.0 to 50.0; boxes 20.0 to 20.0: not tested |"
    assert changes in text


def test_tables_mark_what_is_better_and_worse_at_each_length(folder: Path, tmp_path: Path) -> None:
    (folder / "a.json").write_text(json.dumps(board()))
    tool.main([])
    text = (tmp_path / "page.md").read_text()
    first = text[text.index("### At equal steps: 4 steps") : text.index("### At equal seconds: 2 s")]
    assert "| `cloob` | **60.0** | 30.0 | 4 | 1.0 |" in first
    assert "| `cloc` | *40.0* | 40.0 | 4 | 3.0 |" in first
    assert "| `before` | 65.0 | 20.0 | – | – |" in first
    assert "- laclip, 4 steps: It needs a writer." in text
    assert "- Not asked for in this board's command: `a-clip`" in text
    assert "- `dc-clip`: needs a second backbone that teaches, which this board has not." in text
    assert "`cloc` begins with a prompter that is new" in text


def test_check_tells_a_stale_page(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 1
    (folder / "a.json").write_text(json.dumps(board()))
    assert tool.main(["--check"]) == 1
    assert "run python tools/which_objective.py" in capsys.readouterr().err
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0


def test_holm_counts_all_metrics_and_rows_of_a_board(folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(board()))
    (found,) = tool.read(folder)
    cloob = found.row("cloob", "4 steps")
    assert cloob is not None
    assert cloob.scores["recall_at_1"].p == pytest.approx(8 * 0.001)
    assert "recall_at_5" not in cloob.scores


def test_a_board_of_one_length_is_named_by_its_steps(folder: Path, tmp_path: Path) -> None:
    one = board()
    rows = [{k: v for k, v in r.items() if k != "length"} for r in one["rows"] if r["length"] in ("4 steps", "")]
    fit = {"batch": 8, "lr": 1e-3, "seconds": None, "steps": 4}
    told = {k: v for k, v in one.items() if k != "lengths"} | {"fit": fit, "rows": rows}
    (folder / "a.json").write_text(json.dumps(told))
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "| `cloob` | +10.0 (+5.0 to +15.0) after 4 steps |" in text
    assert "### At equal steps: 4 steps" in text
