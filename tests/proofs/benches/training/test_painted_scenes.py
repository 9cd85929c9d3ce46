"""The bench of SyCoCa's proof, with a small random CLIP and few scenes: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from diptych.core import NotAvailable, Run
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.tables import scene_table
from proofs.benches.training import scene_pairs
from proofs.benches.training.painted_scenes import FEW, boxed, open_painted
from proofs.pretrain import TRIALS
from tests.support.proofs import judged
from tests.support.small_clip import small_clip


def test_every_arm_paints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_pairs, "SIZES", {"train": 16, "test": 10})
    opener = partial(open_painted, fit=replace(FEW, batch=8, steps=2))
    clip = small_clip(tmp_path / "clip")
    judgement = judged(replace(TRIALS["sycoca"], bench=opener), "sycoca", "scenes", clip, Run(workers=1), (1, 2))
    assert [c["over"] for c in judgement["claims"]] == ["random masks", "chance", "random masks"]
    names = [next(iter(c["method"].items())) for c in judgement["claims"]]
    assert [name for name, _ in names] == ["hidden_objects", "own_caption", "own_caption"]
    assert all(0 <= value <= 1 for _, value in names)
    with pytest.raises(NotAvailable):
        open_painted("photos", clip, Run(workers=1), (1,))


def test_patches_are_covered_by_boxes_as_counted_by_hand() -> None:
    table = scene_table(Scenes(SceneRecipe(objects=(1, 2)), 3))
    found = boxed(table, (8, 8))
    for i, boxes in enumerate(table.columns["boxes"].values):
        inside = torch.zeros(64, 64)
        for left, top, right, bottom in boxes.corners.tolist():
            for y in range(64):
                for x in range(64):
                    inside[y, x] = max(float(inside[y, x]), float(left <= x < right and top <= y < bottom))
        assert found[i].sum().item() == pytest.approx(float(inside.sum()) / 64, rel=0.02)
        assert found[i, 9].item() == pytest.approx(float(inside[8:16, 8:16].mean()), abs=0.13)
