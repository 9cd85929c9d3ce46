"""The bench of LightCLIP's proof, with a small random CLIP and few scenes: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from diptych.core import NotAvailable, Run
from proofs.benches.training import scene_pairs
from proofs.benches.training.masked_words import FEW, _neighbours, likelier, open_words
from proofs.pretrain import TRIALS
from tests.support.proofs import judged
from tests.support.small_clip import small_clip


def test_every_arm_prefers_some_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_pairs, "SIZES", {"train": 16, "test": 10})
    opener = partial(open_words, fit=replace(FEW, batch=8, steps=2))
    clip = small_clip(tmp_path / "clip")
    judgement = judged(replace(TRIALS["lightclip"], bench=opener), "lightclip", "scenes", clip, Run(workers=1), (1, 2))
    assert [c["name"] for c in judgement["claims"]] == ["masked words", "matched tokens"]
    assert judgement["claims"][0]["baseline"]["own_picture"] == 0.5
    assert [list(c["method"]) for c in judgement["claims"]] == [["own_picture", "ci95"], ["first_of_40", "ci95"]]
    exact = next(c for c in judgement["beside"] if c["over"] == "exact")
    assert list(exact["own"]) == list(exact["twin"]) == ["first_of_40", "ci95"]
    with pytest.raises(NotAvailable):
        open_words("photos", clip, Run(workers=1), (1,))


def test_equal_values_count_half() -> None:
    assert likelier(torch.tensor([1.0, 1.0]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])).tolist() == [0.5, 0.5]


def test_neighbours_are_the_other_pictures_of_a_block() -> None:
    orders = torch.stack(_neighbours(80))
    assert orders.shape == (39, 80)
    for i in (0, 41, 79):
        start = i // 40 * 40
        assert sorted([i, *orders[:, i].tolist()]) == list(range(start, start + 40))
