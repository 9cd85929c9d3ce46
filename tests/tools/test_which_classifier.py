from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "which_classifier.py"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import sys

    spec = importlib.util.spec_from_file_location("which_classifier", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "which_classifier", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BOARDS", tmp_path / "boards")
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    return module


def row(method: str, shots: int, acc: float, gain: float | None, p: float | None = None, images: int = 0) -> dict[str, Any]:
    return {
        "method": method, "variant": "", "shots": shots, "metrics": {"acc1": acc}, "ci95": {"acc1": [acc - 0.1, acc + 0.1]},
        "gain": None if gain is None else {"acc1": gain}, "p_holm": p, "images": images, "extra_texts": 0, "seconds": {"fit": 1.25},
    }  # fmt: skip


def test_every_sentence_is_a_row(tool: Any, tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    for name, acc in (("a", 0.8), ("b", 0.4)):
        rows = [row("zero-shot", 0, 0.5, None), row("gda", 4, acc, acc - 0.5, 0.01, 20), row("coop", 4, 0.6, 0.1, 0.2, 20)]
        board = {"kind": "board", "dataset": name, "spec": {"name": "lite"}, "rows": rows}
        (tmp_path / "boards" / f"{name}.json").write_text(json.dumps(board))
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert text.index("class names alone") < text.index("4 labelled photos a class")
    assert "`gda` had the highest top-1 on 1 of 2 sets: [a](../results/boards/a.json) 80.0 (70.0-90.0)." in text
    assert "`coop` had the highest top-1 on 1 of 2 sets: [b](../results/boards/b.json) 60.0 (50.0-70.0)." in text
    assert "`gda` is better than zero-shot on 1 of 2 sets: a +30.0; fitting took 1.2 s at most." in text, (
        "significantly worse is not better"
    )
    assert "`coop` is better than zero-shot on 0 of 2 sets; fitting" in text
    assert tool.main(["--check"]) == 0
    (tmp_path / "page.md").write_text("old")
    assert tool.main(["--check"]) == 1


def test_without_boards_nothing_is_claimed(tool: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 1
    assert "No boards" in capsys.readouterr().err
