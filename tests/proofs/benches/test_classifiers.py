"""The bench of classifiers that proofs and ablations stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import Run, UsageError
from diptych.data.load import open_data
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.spoils import shuffled_names
from proofs.benches.classifiers import ClassifyBench
from tests.support.colours import ColourBackbone, colour_folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> ClassifyBench:
    folder: Path = colour_folder(tmp_path_factory.mktemp("bench") / "colours", {"train": 6, "test": 3})
    return ClassifyBench.open(open_data(folder, need="classes"), ColourBackbone(), Run(), (1, 2))


def test_arms_are_measured_on_the_same_photos(bench: ClassifyBench) -> None:
    honest = bench.measure(Arm("zero-shot", "ensemble"))
    spoilt = bench.measure(Arm("zero-shot", "ensemble", spoil=shuffled_names))
    taught = bench.measure(Arm("gda", shots=4))
    assert {m.values.shape for m in (honest, spoilt, taught)} == {(2, 15)}
    assert honest.values.mean() > 0.8 > 0.2 > spoilt.values.mean()
    assert taught.seeds == (1, 2)
    assert (bench.measure(Arm(CHANCE)).values == 0.2).all()
    assert (bench.facts["items"], bench.facts["classes"]) == (15, 5)


def test_other_systems_and_rows_are_refused(bench: ClassifyBench) -> None:
    with pytest.raises(UsageError, match="maskclip is no classifier"):
        bench.measure(Arm("maskclip"))
    with pytest.raises(UsageError, match="gda has no variant 'x', only"):
        bench.measure(Arm("gda", "x"))
