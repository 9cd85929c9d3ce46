"""What every detector promises its user, multiplied over the catalog, and towers and maps of all kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych import catalog
from diptych.backbones.sources.load import load
from diptych.core import Detector, Evidence, Kit, Run
from diptych.testing.contract import Check
from tests.support.checkpoints import transformers_folder
from tests.support.contract import promises
from tests.support.scratches import scratched
from tests.support.small_clip import small_clip


@pytest.mark.parametrize("check", promises("detect"))
def test_detectors(check: Check) -> None:
    check()


@pytest.mark.parametrize("slug", ["winclip-style", "feature-memory"])
@pytest.mark.parametrize("family", ["resnet", "convnext", "siglip", "hf clip"])
def test_maps_come_from_towers_and_dense_maps_of_all_kinds(slug: str, family: str, tmp_path: Path) -> None:
    if family == "hf clip":
        backbone = load(f"local:{transformers_folder(tmp_path / 'hf', 'clip')}")
    else:
        backbone = small_clip(tmp_path / "own", family)
    run = Run()
    fitted = catalog.find(slug, Detector)().fit(Kit({"main": backbone}), Evidence(train=scratched(6, 0, seed=1)), run)
    (anomaly,) = fitted.detect(scratched(0, 1, seed=3).items, run)
    assert anomaly.map is not None
    assert torch.isfinite(anomaly.map).all()
