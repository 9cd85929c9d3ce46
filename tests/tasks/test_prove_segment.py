from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.dense_colours import DenseColours, masked_folder

from diptych.core.errors import NotAvailable
from diptych.core.run import Run
from diptych.tasks.proofs.segment import find_masks
from diptych.tasks.prove import prove


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return masked_folder(tmp_path)


def test_names_that_fit_beat_chance_and_shuffled_ones_do_not(folder: Path) -> None:
    proof = prove("maskclip", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3))
    (found,) = proof.as_dict()["datasets"]
    assert proof.shown
    assert proof.facts["metric"] == "miou"
    assert (found["items"], found["classes"], found["split"]) == (6, 4, "val")
    (claim,), (control,) = found["claims"], found["controls"]
    assert claim["method"]["miou"] > 0.6 > 0.3 > claim["baseline"]["miou"]
    assert claim["method"]["ci95"][0] <= claim["method"]["miou"] <= claim["method"]["ci95"][1]
    assert claim["gain"] == pytest.approx(claim["method"]["miou"] - claim["baseline"]["miou"])
    assert control["failed"]
    assert control["control"]["miou"] < 0.1
    json.dumps(proof.as_dict())


def test_the_hash_follows_the_masks(folder: Path) -> None:
    def digest() -> str:
        return prove("maskclip", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3)).datasets[0]["data_hash"]

    before = digest()
    mask = np.asarray(Image.open(folder / "0-mask.png")).copy()
    mask[0, 0] = 3
    Image.fromarray(mask).save(folder / "0-mask.png")
    assert digest() != before


def test_absent_masks_are_named() -> None:
    with pytest.raises(NotAvailable, match="DIPTYCH_DATA"):
        find_masks("no_such_set")
