"""Written results can be repeated to the same numbers, and what has changed is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.colours import ColourBackbone, coloured

from diptych.core.errors import DataError
from diptych.core.run import Run
from diptych.tasks.board import Board
from diptych.tasks.prove import prove
from diptych.tasks.record import read_json
from diptych.tasks.rerun import backbone_of, rerun


def row(out: Path, start: str) -> dict[str, object]:
    return read_json(sorted((out / "rows").glob(f"{start}*.json"))[0])


@pytest.mark.parametrize("start", ["gda-1shot-seed2", "zero-shot-single", "tip-adapter-f-4shot-seed1", "linear-probe-4shot-seed1"])
def test_a_row_repeats_to_the_last_bit(finished: tuple[Board, Path], start: str) -> None:
    written = row(finished[1], start)
    found = rerun(written, ColourBackbone(), Run(), tolerance=0.0)
    assert found.differing == {}
    assert found.old["acc1"] == found.new["acc1"]
    assert found.as_dict()["same"]
    assert found.notes == ()


def test_a_board_and_a_proof_repeat(finished: tuple[Board, Path], colours: Path) -> None:
    assert rerun(read_json(finished[1] / "board.json"), ColourBackbone(), Run(), tolerance=0.0).differing == {}
    proof = prove("zero-shot", ColourBackbone(), Run(), datasets=[str(colours)], seeds=(1, 2, 3)).as_dict()
    assert rerun(proof, ColourBackbone(), Run(), tolerance=0.0).differing == {}


def test_forged_numbers_and_other_versions_show(finished: tuple[Board, Path]) -> None:
    written = row(finished[1], "gda-1shot-seed1")
    written["metrics"]["acc1"] += 0.02  # type: ignore[index]
    written["versions"]["torch"] = "0.1"  # type: ignore[index]
    found = rerun(written, ColourBackbone(), Run())
    assert list(found.differing) == ["acc1"]
    assert any("torch was 0.1" in note for note in found.notes)


def test_another_backbone_other_data_and_no_result_are_refused(finished: tuple[Board, Path], colours: Path, tmp_path: Path) -> None:
    from tests.support.backbone import SmallBackbone

    written = row(finished[1], "gda-1shot-seed1")
    with pytest.raises(DataError, match="another small"):
        rerun(written, SmallBackbone(), Run())
    copy = shutil.copytree(colours, tmp_path / "colours")
    coloured(copy / "test" / "red" / "0.png", "red", 999)
    with pytest.raises(DataError, match="not those of the result"):
        rerun({**written, "source": str(copy)}, ColourBackbone(), Run())
    with pytest.raises(DataError, match="lacks 'source'"):
        rerun({"fingerprint": ColourBackbone().fingerprint}, ColourBackbone(), Run())
    with pytest.raises(DataError, match="names no backbone"):
        backbone_of({})
    assert backbone_of(written) == "colours"
