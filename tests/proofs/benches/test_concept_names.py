from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import Run
from diptych.methods.classify.dn_cbm import DNCBM
from proofs import classify
from proofs.benches import concept_names as proof
from proofs.prove import prove
from tests.support.colours import ColourBackbone, colour_folder


def test_the_measured_row_is_that_of_the_board() -> None:
    assert DNCBM(**DNCBM.card.variants["small"]) == proof.SMALL
    assert classify.TRIALS["dn-cbm:small"] is proof.TRIAL


def test_purity_is_that_of_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    codes, labels = torch.rand(30, 7, generator=g), torch.randint(3, (30,), generator=g)
    names = torch.randint(3, (7,), generator=g)
    codes[4:, 2] = 0.0  # fewer photos than are asked for show it
    own, base = proof.purities(codes, names, labels, 3, 5)
    for k in range(7):
        rows = np.argsort(-codes[:, k].numpy())[:5]
        shares = [(labels.numpy()[rows] == names[j].item()).mean() for j in range(7)]
        expected = (shares[k], np.mean(shares)) if k != 2 else (1 / 3, 1 / 3)
        assert (own[k], base[k]) == pytest.approx(expected)


def test_each_dimension_keeps_its_values_and_loses_its_photos() -> None:
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    out = proof.scattered(x, Run())
    assert torch.equal(out.sort(dim=0).values, x.sort(dim=0).values)
    assert not torch.equal(out, x)
    assert torch.equal(out, proof.scattered(x, Run()))


def test_names_of_colours_are_pure_and_those_of_scattered_dimensions_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "SMALL", DNCBM(expansion=1.0, epochs=30, sparsity=1e-3, rate=0.01))
    folder = colour_folder(tmp_path / "colours", {"train": 8, "test": 12})
    record = prove("dn-cbm:small", ColourBackbone(), Run(), datasets=[str(folder)], seeds=(1, 2, 3, 4, 5))
    (told,) = record.datasets
    names, trained = told["claims"]
    assert (told["classes"], told["strongest"]) == (5, 6)
    assert names["gain"] > 0.15
    assert (trained["over"], trained["gain"] > 0.1) == (proof.UNTRAINED, True)
    assert [c["failed"] for c in told["controls"]] == [True, True]
    assert told["beside"][0]["gain"] == pytest.approx(names["gain"] - trained["gain"])
