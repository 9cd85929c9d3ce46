"""Written results can be repeated to the same numbers, and what has changed is said."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diptych.backbones.engines.engine import kind_of
from diptych.core import DataError, Encoder, Run
from diptych.data.files import read_json
from diptych.data.labelled import LabelledData
from diptych.evaluation.few_shot.board import Board, board
from diptych.evaluation.few_shot.plan import Plan
from diptych.tasks.record import circumstances, engine_of
from proofs.prove import prove
from proofs.rerun import backbone_of, rerun
from tests.support.colours import ColourBackbone, coloured


def row(out: Path, start: str) -> dict[str, object]:
    return read_json(sorted((out / "rows").glob(f"{start}*.json"))[0])


@pytest.mark.parametrize(
    "start", ["gda-1shot-seed2", "zero-shot-single", "tip-adapter-f-4shot-seed1", "linear-probe-4shot-seed1"]
)
def test_a_row_repeats_to_the_last_bit(finished: tuple[Board, Path], start: str) -> None:
    written = row(finished[1], start)
    result = rerun(written, ColourBackbone(), Run(), tolerance=0.0)
    assert result.differing == {}
    assert result.old["acc1"] == result.new["acc1"]
    assert result.as_dict()["same"]
    assert result.notes == ()


def test_a_board_and_a_proof_repeat(finished: tuple[Board, Path], colours: Path) -> None:
    assert rerun(read_json(finished[1] / "board.json"), ColourBackbone(), Run(), tolerance=0.0).differing == {}
    proof = prove("zero-shot", ColourBackbone(), Run(), datasets=[str(colours)], seeds=(1, 2, 3)).as_dict()
    assert rerun(proof, ColourBackbone(), Run(), tolerance=0.0).differing == {}


def test_forged_numbers_and_other_versions_show(finished: tuple[Board, Path]) -> None:
    written = row(finished[1], "gda-1shot-seed1")
    written["metrics"]["acc1"] += 0.02  # type: ignore[index]
    written["versions"]["torch"] = "0.1"  # type: ignore[index]
    result = rerun(written, ColourBackbone(), Run())
    assert list(result.differing) == ["acc1"]
    assert any("torch was 0.1" in note for note in result.notes)


def test_another_backbone_other_data_and_no_result_are_refused(
    finished: tuple[Board, Path], colours: Path, tmp_path: Path
) -> None:
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


class Elsewhere:
    """An engine for one modality: torch under another name, counted."""

    def __init__(self, *modalities: str) -> None:
        self.modalities, self.rows = modalities, 0

    def runner(self, encoder: Encoder[Any], run: Run, /) -> Named | None:
        return Named(encoder, self) if encoder.modality in self.modalities else None


class Named:
    name, precision = "elsewhere", "fp32"  # whatever was asked for
    facts: Mapping[str, str] = {"engine": "onnxruntime"}

    def __init__(self, encoder: Encoder[Any], engine: Elsewhere) -> None:
        self.encoder, self.engine = encoder, engine

    def __call__(self, x: Any, /) -> NDArray[np.float32]:
        self.engine.rows += len(x)
        with torch.no_grad():
            return self.encoder.encode(x).numpy()


def test_a_result_names_its_engine_and_is_repeated_by_it(data: LabelledData, colours: Path, tmp_path: Path) -> None:
    finished_board = board(
        data,
        ColourBackbone(),
        Run(engine=Elsewhere("image", "text"), out=tmp_path),
        Plan(("gda",), (1,), (1,)),
        source=str(colours),
    )
    written = read_json(next((tmp_path / "rows").glob("gda-1shot*.json")))
    assert finished_board.as_dict()["engine"] == written["engine"] == "onnxruntime"
    engine = Elsewhere("image", "text")
    assert rerun(written, ColourBackbone(), Run(engine=engine)).notes == ()
    assert engine.rows > 0
    assert rerun(written, ColourBackbone(), Run()).notes == ("the engine was onnxruntime and is torch",)


def test_rows_of_another_engine_are_not_used_again(data: LabelledData, tmp_path: Path) -> None:
    plan = Plan(("zero-shot",), (1,), (1,))
    board(data, ColourBackbone(), Run(out=tmp_path), plan)
    engine = Elsewhere("image", "text")
    board(data, ColourBackbone(), Run(out=tmp_path, engine=engine), plan)
    assert engine.rows > 0
    kept = [row["engine"] for row in map(read_json, (tmp_path / "rows").glob("*.json"))]
    assert kept.count("torch") == kept.count("onnxruntime") > 0


def test_engines_of_two_modalities_are_named_apart() -> None:
    assert engine_of(ColourBackbone(), Run()) == "torch"
    assert engine_of(ColourBackbone(), Run(engine=Elsewhere("image", "text"))) == "onnxruntime"
    assert engine_of(ColourBackbone(), Run(engine=Elsewhere("image"))) == "onnxruntime (image), torch (text)"
    assert [kind_of(name) for name in ("torch", "onnxruntime", "onnxruntime (image), torch (text)")] == [
        "torch",
        "onnx",
        "auto",
    ]


def test_a_result_names_the_precision_that_ran_and_is_repeated_by_the_one_that_was_asked(
    data: LabelledData, colours: Path, tmp_path: Path
) -> None:
    engine = Elsewhere("image", "text")
    finished_board = board(
        data,
        ColourBackbone(),
        Run(precision="bf16", engine=engine, out=tmp_path),
        Plan(("gda",), (1,), (1,)),
        source=str(colours),
    )
    written = [finished_board.as_dict(), *map(read_json, (tmp_path / "rows").glob("*.json"))]
    assert len(written) == 2
    assert {(w["precision"], w["precision_asked"]) for w in written} == {("fp32", "bf16")}
    assert (
        circumstances(ColourBackbone(), Run(precision="bf16", engine=Elsewhere("image")), "")["precision"]
        == "fp32 (image), bf16 (text)"
    )
    asked = list[str]()

    class Heard(Elsewhere):
        def runner(self, encoder: Encoder[Any], run: Run, /) -> Named | None:
            asked.append(run.precision)
            return super().runner(encoder, run)

    older = {k: v for k, v in written[-1].items() if k != "precision_asked"}
    for result, precision in ((written[-1], "bf16"), (older, "fp32")):
        asked.clear()
        rerun(result, ColourBackbone(), Run(engine=Heard("image", "text")))
        assert set(asked) == {precision}
