from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import NotAvailable, Run
from diptych.evaluation.arms import Arm
from diptych.methods.classify.transclip import TransCLIP
from proofs.benches import transductive as proof
from tests.support.colours import ColourBackbone, colour_folder


def test_photos_of_test_are_seen_without_labels_and_with_shots(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "colours", {"train": 4, "test": 3})
    bench = proof.open_together(f"transductive:{folder}", ColourBackbone(), Run(), (1, 2))
    items = len(bench.inner.desk.test)
    for arm in (Arm("transclip"), Arm("transclip", "no graph"), Arm("transclip", "", 1), Arm("zero-shot", "ensemble")):
        values = bench.measure(arm).values
        assert values.shape == (2, items)
        assert set(np.unique(values)) <= {0.0, 1.0}
        assert values.mean() > 0.8, "a backbone that knows colours names them, seen together or not"
    with pytest.raises(NotAvailable, match="is not seen whole"):
        proof.open_together("caltech40", ColourBackbone(), Run(), (1,))


def test_other_neighbours_are_as_many_with_the_same_cosines() -> None:
    x = torch.nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    plain = TransCLIP().graph(x, x[:2], Run())
    other = proof.OtherNeighbours().graph(x, x[:2], Run())
    assert not torch.equal(plain[0], other[0])
    for one, two in zip(plain, other, strict=True):
        assert torch.equal(one.flatten().sort().values, two.flatten().sort().values)


def test_no_claim_is_made_of_a_system_that_saw_shots() -> None:
    trial = proof.trial("even-prior")
    owns = [claim.arm or Arm("transclip", "", claim.shots) for claim in (*trial.claims, *trial.controls)]
    assert [own.shots for own in owns] == [0, 0, 0, 0]
