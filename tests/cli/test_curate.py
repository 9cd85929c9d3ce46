from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from diptych.data.formats.tars import TarItem
from tests.support.cluster_work import write_tars
from tests.support.colours import ColourBackbone, coloured

Cli = Callable[..., Any]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool.txt").write_text("\n".join("a cat" if i % 10 else "an axolotl" for i in range(500)) + "\nIMG_1")
    (tmp_path / "names.txt").write_text("cat\naxolotl\ndog")
    return tmp_path / "pool.txt"


def test_plan_merge_and_apply(diptych: Cli, pool: Path, tmp_path: Path) -> None:
    got = diptych("curate", "plan", pool, "--metadata", "names.txt", "--json")
    assert got.code == 0
    assert (got.data["texts"], got.data["matched"], got.data["entries_met"]) == (501, 500, 2)
    assert diptych("curate", "plan", pool, "--metadata", "names.txt").code == 2
    twice = diptych(
        "curate", "plan", pool, "--metadata", "names.txt", "--merge", "plan.parquet", "--out", "two.parquet", "--json"
    )
    assert twice.data["texts"] == 1002
    got = diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "50", "--json")
    assert got.code == 0
    rows = pq.read_table(tmp_path / "curated" / "part-00000.parquet").to_pylist()
    assert sum("axolotl" in r["title"] for r in rows) == 50
    assert 20 < sum("cat" in r["title"] for r in rows) < 90
    assert diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "50").code == 2
    got = diptych("curate", "apply", pool, "--metadata", "names.txt", "--t", "inf", "--out", "all")
    assert "500 of 501 kept" in got.err


def test_broken_items_are_named_and_the_exit_code_says_so(
    diptych: Cli, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    coloured(tmp_path / "red.png", "red", 0)
    rows = "".join(f",a cat {i}\n" for i in range(12))
    (tmp_path / "t.csv").write_text("filepath,title\nred.png,a red cat\n" + rows)
    for method, words in (("metaclip", ("--metadata", "names.txt")), ("clip-score", ("--share", "1"))):
        more = words if method == "metaclip" else ()
        got = diptych("curate", "plan", "t.csv", "--method", method, *more, "--out", f"{method}.plan")
        assert got.code == 3
        assert "12 skipped:" in got.err
        assert "Row 2 of" in got.err
        assert "and 2 more" in got.err
        got = diptych(
            "curate",
            "apply",
            "t.csv",
            "--method",
            method,
            *words,
            "--plan",
            f"{method}.plan",
            "--out",
            method,
            "--json",
        )
        assert got.code == 3
        assert (got.data["seen"], got.data["kept"], got.data["broken"], len(got.data["skipped"])) == (13, 1, 12, 10)
        assert got.data["skipped"][0]["reason"] == "has no filepath or no title"
        assert "and 2 more" in got.err


def test_metaclip_reads_no_picture_of_a_tar(
    diptych: Cli, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, held = write_tars(tmp_path / "tars", 2, 5), set[str]()
    real = TarItem.text
    monkeypatch.setattr(TarItem, "text", lambda item, *a: held.update(item.members) or real(item, *a))
    assert diptych("curate", "plan", spec, "--metadata", "names.txt").code == 0
    got = diptych("curate", "apply", spec, "--metadata", "names.txt", "--json")
    assert (got.code, got.data["kept"], held) == (0, 10, {"txt"})
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    got = diptych("curate", "plan", spec, "--method", "clip-score", "--out", "scores", "--json")
    assert (got.code, got.data["broken"]) == (3, 1)  # its picture is
    assert len(got.data["skipped"]) == 1
    assert got.data["skipped"][0]["path"] in got.err
    assert got.data["skipped"][0]["reason"] in got.err
    merged = diptych("curate", "plan", spec, "--method", "clip-score", "--merge", "scores", "--out", "two", "--json")
    assert (merged.data["broken"], len(merged.data["skipped"])) == (2, 1), "named are those of this pass"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["plan", "absent.txt"], 2, "no file"),
        (["plan", "pool.xml"], 2, "no file or folder"),
        (["plan", "pool.txt", "--method", "gda"], 2, "no curator"),
        (["apply", "pool.txt", "--t", "many"], 2, "--t takes"),
        (["apply", "pool.txt", "--t", "0"], 2, "at least 1"),
        (["apply", "pool.txt", "--plan", "absent.parquet"], 2, "write one first, with 'diptych curate plan"),
        (["pool.txt"], 2, "say 'diptych curate plan pool.txt'"),
    ],
)
def test_errors_are_one_sentence(diptych: Cli, pool: Path, words: list[str], code: int, says: str) -> None:
    got = diptych("curate", *words)
    assert got.code == code
    assert says in got.err


def test_a_plan_that_was_asked_wrongly_blocks_no_other(diptych: Cli, tmp_path: Path) -> None:
    (tmp_path / "pool.txt").write_text("a cat\na dog\n")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert diptych("curate", "plan", "pool.txt", "--metadata", "nope").code == 2
    assert not (tmp_path / "plan.parquet.parts").exists()
    assert diptych("curate", "plan", "pool.txt", "--metadata", "names.txt").code == 0


def test_a_table_of_captions_needs_no_columns_named(diptych: Cli, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("path,caption\na.jpg,a black cat\nb.jpg,a dog\n")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    got = diptych("curate", "plan", "captions.csv", "--metadata", "names.txt", "--json")
    assert got.code == 0, got.err
    assert (got.data["texts"], got.data["matched"]) == (2, 2)
