from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from diptych import catalog
from diptych.metrics.significance import holm

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


def row(
    method: str, shots: int, acc: float, gain: float | None, p: float | None = None, variant: str = ""
) -> dict[str, Any]:
    label = ", ".join(filter(None, (catalog.find(method).card.name, variant)))
    return {
        "label": label, "method": method, "variant": variant, "shots": shots, "seeds": [1, 2, 3] if shots else [0],
        "metrics": {"acc1": acc}, "ci95": {"acc1": [acc - 0.1, acc + 0.1]},
        "gain": None if gain is None else {"acc1": gain}, "p_holm": p, "seconds": {"fit": 1.25},
    }  # fmt: skip


BASE = row("zero-shot", 0, 0.5, None, variant="ensemble")


def write(folder: Path, name: str, rows: list[dict[str, Any]], file: str = "", **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    plan = {"shots": [1, 4, 16], "seeds": [1, 2, 3]}
    board = {"kind": "board", "dataset": name, "spec": {"name": "lite"}, "rows": rows, **plan, **more}
    (folder / f"{file or name}.json").write_text(json.dumps(board))


def test_every_sentence_is_a_row(tool: Any, tmp_path: Path) -> None:
    for name, acc in (("a", 0.8), ("b", 0.4)):
        rows = [
            row("zero-shot", 0, 0.5, None, variant="ensemble"),
            row("gda", 4, acc, acc - 0.5, 0.01),
            row("coop", 4, 0.6, 0.1, 0.2),
        ]
        late = {"CoOp": "16 shots, seed 2 and what follows left out: its time-out of 9 s was over."}
        missing = {"GLSim, 4 shots, seed 1": "lite has no tower.", "GLSim, 4 shots, seed 2": "lite has no tower."}
        write(tmp_path / "boards", name, rows, missing=missing, late=late)
    write(
        tmp_path / "boards", "c", [{"method": "maskclip", "variant": "", "miou": 0.2}], verb="segment", backbone="lite"
    )  # passed over
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert text.index("### If you have class names alone") < text.index("### If you have 4 labelled photos per class")
    assert (
        "- `lite`, 4 labelled photos per class: `gda` and `coop` had the highest top-1 on 1 of 2 sets. "
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
    assert "- CoOp, 16 shots, seed 2 and what follows (a, b): left out: its time-out of 9 s was over." in text, (
        "its 4 shots are there"
    )
    figure = tmp_path / "figures" / "ranks-lite-4-shots.svg"
    assert "figures/ranks-lite-4-shots.svg" in text
    assert ElementTree.fromstring(figure.read_text()).tag == "{http://www.w3.org/2000/svg}svg"
    assert "coop 1.50" in figure.read_text()
    assert tool.main(["--check"]) == 0
    figure.write_text("old")
    assert tool.main(["--check"]) == 1


def test_what_else_a_system_was_given_is_said(tool: Any, tmp_path: Path) -> None:
    rows = [
        row("zero-shot", 0, 0.5, None, variant="ensemble"),
        row("description", 0, 0.6, 0.1, 0.2),
        row("nola", 0, 0.6, 0.1, 0.01),
    ]
    write(
        tmp_path / "boards",
        "a",
        [*rows, row("dn-cbm", 1, 0.6, 0.1, 0.2), row("discriminative-descriptions", 1, 0.6, 0.1, 0.2)],
    )
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    titles = ("class names alone", "descriptions", "photos without labels", "1 labelled photo per class")
    places = [text.index(f"### If you have {title}\n") for title in titles]
    assert places == sorted(places)
    assert "| `dn-cbm` (and photos without labels) |" in text
    assert "| `discriminative-descriptions` (and descriptions) |" in text
    assert "Mean ranks at" not in text, "one set ranks nothing"


def test_two_boards_of_one_set_share_a_column(tool: Any, tmp_path: Path) -> None:
    base = row("zero-shot", 0, 0.5, None, variant="ensemble")
    for name in ("a", "b"):
        write(tmp_path / "boards", name, [base, row("gda", 1, 0.6, 0.1, 0.2)])
        write(
            tmp_path / "boards",
            name,
            [{**base, "metrics": {"acc1": 0.9}}, row("coop", 1, 0.7, 0.2, 0.01)],
            f"{name}-more",
        )
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    header = (
        "| system | [a](../results/boards/a.json) [+](../results/boards/a-more.json) | [b](../results/boards/b.json)"
    )
    assert header in text
    assert "| `coop` | **70.0** | **70.0** |" in text
    assert "3 systems on 2 sets" in text
    assert text.count("`zero-shot, ensemble` |") == 2, "in the advice and in one table"


def test_without_boards_nothing_is_claimed(tool: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 1
    assert "No boards" in capsys.readouterr().err


def test_a_cut_row_is_marked_told_of_and_not_ranked(tool: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = [
            BASE,
            row("coop", 1, 0.6, 0.1, 0.01),
            row("gda", 1, 0.6, 0.1, 0.01),
            row("gda", 4, 0.7, 0.2, 0.01),
            row("coop", 4, 0.6, 0.1, 0.01),
        ]
        write(tmp_path / "boards", name, rows)
    late = {
        "linear probe": "4 shots, seed 1 and what follows left out: its time-out of 40 s was over.",
        "GDA": "4 shots, seed 2 and what follows left out: the budget of 9 s was spent.",
    }
    rows = [BASE, row("linear-probe", 1, 0.6, 0.1, 0.01), {**row("gda", 4, 0.9, 0.4, 0.01), "seeds": [1]}]
    write(
        tmp_path / "boards",
        "cut",
        [*rows, row("coop", 1, 0.6, 0.1, 0.01), row("gda", 1, 0.6, 0.1, 0.01)],
        shots=[1, 4],
        late=late,
    )
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "- linear probe, 4 shots, seed 1 and what follows (cut): left out: its time-out of 40 s was over." in text, (
        "1 shot is there"
    )
    assert "- GDA, 4 shots, seed 2 and what follows (cut): left out: the budget of 9 s was spent." in text
    assert "| `gda` | **70.0** | **70.0** | 90.0† | 2 of 2 | 1.2 |" in text, (
        "one seed is no mean over three, and shows nothing"
    )
    assert "\n† Fewer seeds: 1 of 3 on cut for `gda`.\n" in text
    assert "A number with † has fewer seeds than planned" in text
    assert "4 labelled photos per class: `gda` had the highest top-1 on 2 of 2 sets." in text
    assert (
        "3 systems on 2 sets ([a](../results/boards/a.json), [b](../results/boards/b.json)): `gda` ranks first (1.00)"
        in text
    )
    assert "Sets left out, as every row there has fewer seeds: cut." in text
    write(tmp_path / "boards", "cut", [*rows, row("coop", 4, 0.6, 0.1, 0.01)])
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "2 systems on 3 sets" in text
    assert "Not ranked, as not on all of these sets with all seeds: `gda`." in text


def test_what_another_board_holds_is_not_missing(tool: Any, tmp_path: Path) -> None:
    late = {"GDA": "1 shot, seed 2 and what follows left out: the budget of 9 s was spent."}
    missing = {
        "FuDD": "no pairs.",
        "CoOp": "no train.",
        "CoOp, 4 shots, seed 2": "too few.",
        "Tip-Adapter, seed 2": "broken.",
    }
    write(
        tmp_path / "boards",
        "a",
        [BASE, {**row("gda", 1, 0.9, 0.4, 0.01), "seeds": [1]}],
        missing=missing,
        late=late,
        shots=[1, 4],
    )
    more = [
        row("fudd", 0, 0.5, 0.1, 0.9),
        row("gda", 1, 0.6, 0.1, 0.9),
        row("gda", 4, 0.6, 0.1, 0.9),
        row("coop", 1, 0.6, 0.1, 0.9),
    ]
    write(tmp_path / "boards", "a", [BASE, *more], "b", shots=[1, 4])
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "| `gda` | 60.0 | 0 of 1 | 1.2 |" in text, "the row with all its seeds is taken"
    assert "†" not in text
    assert not any(f"- {name}" in text for name in ("FuDD", "GDA"))
    assert "- CoOp (a): no train." in text, "4 shots are on no board"
    assert "- CoOp, 4 shots (a): too few." in text
    assert "- Tip-Adapter (a): broken." in text
    write(
        tmp_path / "boards",
        "a",
        [BASE, *more, row("coop", 4, 0.6, 0.1, 0.9), row("tip-adapter", 0, 0.6, 0.1, 0.9)],
        "b",
    )
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert not any(f"- {name}" in text for name in ("CoOp", "Tip-Adapter"))


def test_a_claim_does_not_hang_on_how_boards_were_cut(tool: Any, tmp_path: Path) -> None:
    def corrected(*boards: list[dict[str, Any]]) -> dict[str, float]:
        for path in (tmp_path / "boards").glob("*"):
            path.unlink()
        for i, rows in enumerate(boards):
            write(tmp_path / "boards", "a", [BASE, *rows], f"{i}")
        return {r.name: r.p for r in tool.read(tmp_path / "boards")[0] if r.p is not None}

    raw = {"gda": 0.001, "coop": 0.03, "tip-adapter": 0.2}
    whole = dict(zip(raw, holm(list(raw.values())), strict=True))
    given = [{**row(name, 4, 0.6, 0.1, 0.9), "p": p} for name, p in raw.items()]
    assert corrected(given) == corrected(given[:1], given[1:]) == whole
    alone = [
        row(name, 4, 0.6, 0.1, p) for name, p in raw.items()
    ]  # each on its own board, where there is nothing to correct
    assert corrected(*([r] for r in alone)) == pytest.approx(whole)
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "| `coop` | 60.0 | 0 of 1 |" in text, "0.03 of three"
    assert "| `gda` | **60.0** | 1 of 1 |" in text
    assert "For these the largest raw p-value that such a one allows is used" in text
    assert corrected([row(name, 4, 0.6, 0.1, p) for name, p in whole.items()]) == pytest.approx(whole), (
        "one board: what it says"
    )
    tied = [row(name, 4, 0.6, 0.1, 0.03) for name in raw]  # of 3: 0.01, then up to 0.015, then up to 0.03
    assert corrected(tied) == pytest.approx(dict.fromkeys(raw, 0.03))
    assert corrected(tied, [row("linear-probe", 4, 0.6, 0.1, 0.9)])["gda"] == pytest.approx(0.06), (
        "2 x 0.03, the most that it can be"
    )
    write(tmp_path / "boards", "a", [BASE, *given], "0")
    assert tool.main([]) == 0
    assert "largest raw" in (tmp_path / "page.md").read_text()
    corrected(given)
    assert tool.main([]) == 0
    assert "largest raw" not in (tmp_path / "page.md").read_text()


def test_the_backbone_that_is_the_default_comes_first(tool: Any, tmp_path: Path) -> None:
    for backbone, acc in (("a-first-name", 0.9), ("lite", 0.7)):
        write(
            tmp_path / "boards", "a", [BASE, row("gda", 4, acc, acc - 0.5, 0.01)], file=f"a-{backbone}",
            spec={"name": backbone},
        )  # fmt: skip
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "use, with `lite`" in text
    assert text.index("## With `lite`") < text.index("## With `a-first-name`")


def test_fixed_settings_stand_beside_those_that_val_chose(tool: Any, tmp_path: Path) -> None:
    write(tmp_path / "boards", "a", [BASE, row("gda", 4, 0.8, 0.3, 0.01), row("gda", 4, 0.76, 0.26, 0.01, "no val")])
    write(
        tmp_path / "boards",
        "b",
        [BASE, row("gda", 4, 0.7, 0.2, 0.01), row("lp-plus-plus", 4, 0.6, 0.1, 0.01, "no val")],
    )
    assert tool.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    section = text[text.index("### Without a validation set, with `lite`") :]
    assert "| system | shots | a |" in section
    assert "| `gda` | 4 | 76.0 (+4.0) |" in section
    assert "| `lp-plus-plus`" not in section  # nothing stands beside it
    write(tmp_path / "boards", "a", [BASE, row("gda", 4, 0.8, 0.3, 0.01)])
    assert tool.main([]) == 0
    assert "### Without a validation set" not in (tmp_path / "page.md").read_text()


def test_boards_of_before_two_way_intervals_are_counted_and_new_ones_say_nothing(tool: Any) -> None:
    old, new = ({"date": date, "spec": {"name": "tiny"}} for date in ("2026-11-25T01:00", "2026-12-02T01:00"))
    _, words = tool._older([old, new, old])
    assert words.startswith("2 of `tiny` are boards of before 2026-12-02")
    assert list(tool._older([new])) == []
