from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych import catalog
from diptych.core import UsageError
from tests.support.colours import colour_folder, colour_pool

Cli = Callable[..., Any]
SMALL = ("--methods", "zero-shot,gda", "--shots", "1", "--seeds", "1,2", "--out", "out")


def test_a_board_with_its_files(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    got = diptych("board", "classify", colours, *SMALL)
    assert got.code == 0
    assert "gda, 1 shot" in got.out
    assert "zero-shot, ensemble" in got.out
    assert "Recommended: " in got.out
    assert "images/s" in got.err
    for name in ("board.json", "board.csv", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    written = json.loads((tmp_path / "out" / "board.json").read_text())
    again = diptych("board", "classify", colours, *SMALL, "--json")
    assert again.code == 0
    assert [r["metrics"] for r in again.data["rows"]] == [r["metrics"] for r in written["rows"]]
    assert again.data["encode"]["images"] == 0
    assert written["source"] == str(colours)


def test_an_unchanged_board_is_answered_without_torch_and_a_changed_one_is_run(
    diptych: Cli, colours: Path, tmp_path: Path
) -> None:
    words = ["board", "classify", str(colours), *SMALL]
    assert "nothing has changed" not in diptych(*words).err
    first = (tmp_path / "out" / "board.json").read_bytes()
    code = f"import sys; sys.argv = {['diptych', *words]!r}\nfrom diptych.cli.main import main\ntry: main()\n"
    code += "except SystemExit as end: assert not end.code, end.code\nassert 'torch' not in sys.modules"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "nothing has changed" in again.stderr
    assert "Recommended: " in again.stdout
    assert (tmp_path / "out" / "board.json").read_bytes() == first
    assert "nothing has changed" not in diptych(*words, "--templates", "a {}").err  # another board lies there now
    assert "nothing has changed" not in diptych(*words).err
    (colours / "test" / "red" / "0.png").rename(colours / "test" / "blue" / "moved.png")
    assert "nothing has changed" not in diptych(*words).err
    (tmp_path / "out" / "report.html").unlink()
    assert "nothing has changed" not in diptych(*words).err


def test_a_board_with_texts_and_its_rerun(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(colour_pool()))
    words = ("--methods", "zero-shot,description,fudd", "--out", "out")
    got = diptych("board", "classify", colours, *words)
    assert got.code == 0
    assert "FuDD; FuDD, top 3: This system reads descriptions" in got.out.replace("\n", " ")
    got = diptych("board", "classify", colours, *words, "--texts", path)
    assert got.code == 0
    assert "fudd, top 3" in got.out
    row = next((tmp_path / "out" / "rows").glob("fudd*.json"))
    for result in (row, tmp_path / "out"):
        assert diptych("rerun", result, "--tolerance", "0").code == 0
    path.write_text(json.dumps({"red": ["rouge"]}))
    got = diptych("rerun", row)
    assert got.code == 1
    assert "are not those of the result" in got.err
    assert diptych("board", "classify", colours, *words, "--texts", "absent.json").code == 2


def test_skipped_files_give_code_3(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "data", {"train": 4, "test": 3})
    (folder / "test" / "red" / "1.png").write_bytes(b"x")
    got = diptych("board", "classify", folder, *SMALL)
    assert got.code == 3
    assert "1.png" in got.err


def test_skipped_files_give_code_3_in_the_protocol_and_in_ablate_too(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "data", {"train": 4, "test": 3})
    (folder / "test" / "red" / "1.png").write_bytes(b"x")
    (tmp_path / "pool.json").write_text(json.dumps(colour_pool()))
    ablated = diptych("ablate", folder, "--texts", "pool.json", "--methods", "description", "--seeds", "1,2")
    protocol = diptych("board", "few-shot", folder, "--methods", "zero-shot", "--shots", "1", "--seeds", "1")
    for got in (ablated, protocol):
        assert (got.code, "1.png" in got.err) == (3, True), got.err


@pytest.mark.parametrize("slug", ["gda", "zero-shot"])
def test_an_interrupted_board_gives_code_130(
    diptych: Cli, colours: Path, monkeypatch: pytest.MonkeyPatch, slug: str
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog.find(slug), "fit", interrupt)
    got = diptych("board", "classify", colours, *SMALL)
    assert got.code == 130
    if slug == "zero-shot":  # no row was finished: no empty board is shown or written
        assert re.search(r"Interrupted: \d+ vectors are in the cache; the same command begins again with them", got.err)
        assert (got.out, Path("out").exists()) == ("", False)
        return
    assert "the board holds the rows that were finished; the same command goes on from there" in got.err
    assert "zero-shot" in got.out
    assert json.loads(Path("out/board.json").read_text())["complete"] is False


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["cifar10_small"], 4, "DIPTYCH_DATA"),
        (["nowhere"], 2, "no file or folder nowhere"),
        (["{colours}", "--shots", "many"], 2, "whole numbers"),
        (["{colours}", "--shots", "0"], 2, "from 1"),
        (["{colours}", "--seeds", "1,1"], 2, "different whole numbers"),
        (["{colours}", "--methods", "gpa"], 2, "gda"),
        (["{colours}", "--val", "most"], 2, "'most'"),
        (["{colours}", "--names", "a,b"], 2, "2 names for 5 classes"),
    ],
)
def test_errors(
    diptych: Cli, colours: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, says: str
) -> None:
    monkeypatch.delenv("DIPTYCH_DATA", raising=False)
    got = diptych("board", "classify", *[w.replace("{colours}", str(colours)) for w in words])
    assert (got.code, says in got.err) == (code, True), got.err


def test_rerun_repeats_rows_and_boards(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    diptych("board", "classify", colours, *SMALL)
    row = next((tmp_path / "out" / "rows").glob("gda*.json"))
    for path in (row, tmp_path / "out" / "board.json"):
        got = diptych("rerun", path, "--tolerance", "0")
        assert got.code == 0, got.out
        assert "differs" not in got.out
    forged = json.loads(row.read_text())
    forged["metrics"]["nll"] *= 1.5
    row.write_text(json.dumps(forged))
    got = diptych("rerun", row, "--json")
    assert got.code == 5
    assert got.data["same"] is False
    assert diptych("rerun", tmp_path / "none.json").code == 2
    (tmp_path / "other.json").write_text("{}")
    assert "names no backbone" in diptych("rerun", tmp_path / "other.json").err


def test_a_result_whose_encoders_ran_in_two_precisions_is_repeated(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    diptych("board", "classify", colours, *SMALL)
    row = next((tmp_path / "out" / "rows").glob("gda*.json"))
    row.write_text(json.dumps(json.loads(row.read_text()) | {"precision": "bf16 (text), fp32 (image)"}))
    got = diptych("rerun", row, "--tolerance", "0")
    assert (got.code, "differs" in got.out) == (0, False), got.err


def test_rerun_gives_label_free_rows_their_own_photos(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    apart = colour_folder(tmp_path / "apart", {"train": 3})
    words = ("--methods", "nola,zero-shot", "--shots", "1", "--seeds", "1", "--unlabelled", apart)
    assert diptych("board", "classify", colours, *words).code == 0
    board, row = tmp_path / "out/board/board.json", next((tmp_path / "out/board/rows").glob("nola-head*.json"))
    written = json.loads(row.read_text())
    assert written["unlabelled"] == str(apart)
    assert json.loads(board.read_text())["unlabelled"] == {
        "source": str(apart),
        "hash": written["unlabelled_hash"],
        "images": 15,
    }
    for path in (row, board):
        got = diptych("rerun", path, "--tolerance", "0")
        assert got.code == 0, got.out + got.err
    next(apart.rglob("*.png")).unlink()
    got = diptych("rerun", row)
    assert (got.code, "not those of the result" in got.err) == (1, True)


def test_prove_writes_the_result_and_says_when_nothing_is_shown(
    diptych: Cli, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = diptych("prove", "zero-shot", "--data", colours)
    assert got.code == 0
    assert "shown" in got.out
    written = json.loads(Path("results/zero-shot.json").read_text())
    assert written["shown"] is True
    assert diptych("prove", "zero-shot", "--data", colours).code == 2
    few = diptych("prove", "zero-shot", "--data", colours, "--seeds", "1,2,3", "--overwrite")
    assert few.code == 5
    assert "Not shown: 3 seeds, and the proof asks for 5." in few.err
    from tests.support.backbone import SmallBackbone

    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: SmallBackbone())
    got = diptych("prove", "zero-shot", "--data", colours, "--seeds", "1,2,3", "--overwrite", "--json")
    assert got.code == 5
    assert got.data["shown"] is False
    assert json.loads(Path("results/zero-shot.json").read_text())["shown"] is False
    assert diptych("prove", "gpa").code == 2
    assert diptych("prove", "gda", "--data", "no_such_set").code == 2


def test_prove_takes_the_backbone_of_the_plan_unless_one_is_named(
    diptych: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load(name: str, **more: object) -> None:
        asked.append(name)
        raise UsageError("not loaded here.")

    monkeypatch.setattr("diptych.backbones.sources.load.load", load)
    for words in (["galip"], ["galip", "-b", "lite"], ["zero-shot"], ["gda", "--backbone", "tiny"]):
        assert diptych("prove", *words).code == 2
    assert asked == ["tiny", "lite", "lite", "tiny"]


@pytest.mark.slow
def test_the_demo_runs_whole(diptych: Cli, tmp_path: Path) -> None:
    got = diptych("demo", "--out", tmp_path / "demo", "--shots", "1", "--seeds", "1", "--json")
    assert got.code == 0
    assert got.data["board"]["dataset"] == "demo:clothes"
    assert len(got.data["photos"]["predictions"]) >= 5
    assert "What is on these photos?" in (tmp_path / "demo" / "report.html").read_text()


def test_the_demo_refuses_its_flags_before_it_works(diptych: Cli, tmp_path: Path) -> None:
    """It classified the photos first, and then found that it could write nothing, or that --shots is no number."""
    (tmp_path / "file").write_text("")
    for flags, says in (
        (("--out", tmp_path / "file"), "--out"),
        (("--out", tmp_path / "demo", "--shots", "x"), "--shots takes whole numbers"),
        (("--out", tmp_path / "demo", "--shots", "0"), "--shots must be whole numbers from 1"),
    ):
        got = diptych("demo", *flags)
        assert (got.code, says in got.err, got.out) == (2, True, "")


def test_several_data_sets_are_compared(diptych: Cli, tmp_path: Path) -> None:
    for name in ("one", "two"):
        colour_folder(tmp_path / name, {"train": 4, "test": 3 if name == "one" else 5})
    got = diptych("board", "classify", "one", "two", *SMALL)
    assert got.code == 0
    assert "Mean rank over 2 data sets" in got.out
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written["datasets"] == ["one", "two"]
    assert len(written["systems"]) == 3
    assert sum(written["ranks"]) == pytest.approx(6)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "critical difference" in page
    assert "<script" not in page
    assert (tmp_path / "out" / "two" / "report.html").exists()
    assert diptych("board", "classify", "one", "two", "--names", "a,b").code == 2


def test_a_board_of_another_verb_or_data_set_is_not_written_over(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    assert diptych("board", "classify", colours, *SMALL).code == 0
    board, before = tmp_path / "out" / "board.json", (tmp_path / "out" / "board.json").read_bytes()
    other = colour_folder(tmp_path / "other", {"train": 4, "test": 3})
    got = diptych("board", "classify", other, *SMALL)
    assert (got.code, "board.json is a board of" in got.err, "--overwrite" in got.err) == (2, True, True)
    assert board.read_bytes() == before
    (tmp_path / "moved").symlink_to(colours)
    assert diptych("board", "classify", tmp_path / "moved", *SMALL).code == 0, "the same files elsewhere"
    for text, said in (
        ('{"kind": "board", "verb": "detect"}', "a board of detect"),
        ("{}", "no board"),
        ("{", "no board"),
    ):
        board.write_text(text)
        got = diptych("board", "classify", colours, *SMALL)
        assert (got.code, said in got.err) == (2, True)
        assert board.read_text() == text
    assert diptych("board", "classify", other, *SMALL, "--overwrite").code == 0
    assert json.loads(board.read_text())["source"] == str(other)


def test_a_protocol_or_comparison_of_other_data_is_not_written_over(
    diptych: Cli, colours: Path, tmp_path: Path
) -> None:
    other = colour_folder(tmp_path / "other", {"train": 4, "test": 3})
    short = ("--methods", "zero-shot", "--shots", "1", "--seeds", "1", "--out")
    assert diptych("board", "few-shot", colours, *short, "few").code == 0
    before = (tmp_path / "few" / "protocol.json").read_bytes()
    assert diptych("board", "few-shot", other, *short, "few").code == 2
    assert (tmp_path / "few" / "protocol.json").read_bytes() == before
    assert diptych("board", "few-shot", other, *short, "few", "--overwrite").code == 0
    third = colour_folder(tmp_path / "third", {"train": 4, "test": 3})
    assert diptych("board", "classify", colours, other, *short, "two").code == 0
    assert diptych("board", "classify", colours, third, *short, "two").code == 2
    assert diptych("board", "classify", colours, third, *short, "two", "--overwrite").code == 0
