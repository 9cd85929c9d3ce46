from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

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
    monkeypatch.setattr(module, "FIGURES", tmp_path / "figures")
    return module


def row(method: str, shots: int, acc: float, gain: float | None, p: float | None = None, variant: str = "") -> dict[str, Any]:
    return {
        "method": method, "variant": variant, "shots": shots, "metrics": {"acc1": acc}, "ci95": {"acc1": [acc - 0.1, acc + 0.1]},
        "gain": None if gain is None else {"acc1": gain}, "p_holm": p, "seconds": {"fit": 1.25},
    }  # fmt: skip


def write(folder: Path, name: str, rows: list[dict[str, Any]], file: str = "", **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    board = {"kind": "board", "dataset": name, "spec": {"name": "lite"}, "rows": rows, **more}
    (folder / f"{file or name}.json").write_text(json.dumps(board))


def test_every_sentence_is_a_row(tool: Any, tmp_path: Path) -> None:
    for name, acc in (("a", 0.8), ("b", 0.4)):
        rows = [row("zero-shot", 0, 0.5, None, variant="ensemble"), row("gda", 4, acc, acc - 0.5, 0.01), row("coop", 4, 0.6, 0.1, 0.2)]
        late = {"CoOp": "16 shots, seed 2 and what follows left out: its time-out of 9 s was over."}
        missing = {"GLSim, 4 shots, seed 1": "lite has no tower.", "GLSim, 4 shots, seed 2": "lite has no tower."}
        write(tmp_path / "boards", name, rows, missing=missing, late=late)
    write(tmp_path / "boards", "c", [{"method": "maskclip", "variant": "", "miou": 0.2}], verb="segment", backbone="lite")  # passed over
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert text.index("### If you have class names alone") < text.index("### If you have 4 labelled photos a class")
    assert (
        "- `lite`, 4 labelled photos a class: `gda` and `coop` had the highest top-1 on 1 of 2 sets. "
        "[a](../results/boards/a.json) 80.0 (70.0-90.0) with `gda`, zero-shot 50.0; "
        "[b](../results/boards/b.json) 60.0 (50.0-70.0) with `coop`, zero-shot 50.0, a difference not shown."
    ) in text
    assert "| `gda` | **80.0** | *40.0* | 1 of 2 | 1.2 |" in text, "significantly worse is not better"
    assert "| `coop` | 60.0 | 60.0 | 0 of 2 | 1.2 |" in text
    assert "3 systems on 2 sets" in text
    assert "- GLSim, 4 shots (a, b): lite has no tower." in text
    (untried,) = (line for line in text.splitlines() if line.startswith("- Not measured yet: "))
    assert "`nola`" in untried
    assert not any(f"`{slug}`" in untried for slug in ("gda", "coop", "glsim", "zero-shot"))
    assert "- CoOp (a, b): some rows left out: its time-out of 9 s was over." in text
    figure = tmp_path / "figures" / "ranks-lite-4-shots.svg"
    assert "figures/ranks-lite-4-shots.svg" in text
    assert ElementTree.fromstring(figure.read_text()).tag == "{http://www.w3.org/2000/svg}svg"
    assert "coop 1.50" in figure.read_text()
    assert tool.main(["--check"]) == 0
    figure.write_text("old")
    assert tool.main(["--check"]) == 1


def test_what_else_a_system_was_given_is_said(tool: Any, tmp_path: Path) -> None:
    rows = [row("zero-shot", 0, 0.5, None, variant="ensemble"), row("description", 0, 0.6, 0.1, 0.2), row("nola", 0, 0.6, 0.1, 0.01)]
    write(tmp_path / "boards", "a", [*rows, row("dn-cbm", 1, 0.6, 0.1, 0.2), row("discriminative-descriptions", 1, 0.6, 0.1, 0.2)])
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    titles = ("class names alone", "descriptions", "photos without labels", "1 labelled photo a class")
    places = [text.index(f"### If you have {title}\n") for title in titles]
    assert places == sorted(places)
    assert "| `dn-cbm` (and photos without labels) |" in text
    assert "| `discriminative-descriptions` (and descriptions) |" in text
    assert "Mean ranks at" not in text, "one set ranks nothing"


def test_two_boards_of_one_set_share_a_column(tool: Any, tmp_path: Path) -> None:
    base = row("zero-shot", 0, 0.5, None, variant="ensemble")
    for name in ("a", "b"):
        write(tmp_path / "boards", name, [base, row("gda", 1, 0.6, 0.1, 0.2)])
        write(tmp_path / "boards", name, [{**base, "metrics": {"acc1": 0.9}}, row("coop", 1, 0.7, 0.2, 0.01)], f"{name}-more")
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    header = "| system | [a](../results/boards/a.json) [+](../results/boards/a-more.json) | [b](../results/boards/b.json)"
    assert header in text
    assert "| `coop` | **70.0** | **70.0** |" in text
    assert "3 systems on 2 sets" in text
    assert text.count("`zero-shot, ensemble` |") == 1


def test_without_boards_nothing_is_claimed(tool: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 1
    assert "No boards" in capsys.readouterr().err
