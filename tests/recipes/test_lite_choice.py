"""Weights lie on the line between two towers, the best share wins, the scale calibrates rows it was not fitted to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from recipes import lite_choice
from recipes.lite_choice import choose, fitted_scale, held_out_error, mixed, write
from recipes.lite_proxies import Proxy


def test_mixed_weights_lie_on_the_line_and_counts_stay() -> None:
    old = {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)}
    new = {"w": torch.tensor([4.0, 0.0]), "n": torch.tensor(9)}
    got = mixed(old, new, 0.25)
    assert got["w"].tolist() == [1.0, 1.5]
    assert got["n"].item() == 3
    assert mixed(old, new, 0.0)["w"].tolist() == [0.0, 2.0]


def test_the_fitted_scale_is_the_one_that_drew_the_labels_and_calibrates_other_rows() -> None:
    g = np.random.default_rng(0)
    scores = [g.normal(size=(4000, k)).astype(np.float32) * 0.2 for k in (5, 9)]
    labels = []
    for s in scores:
        p = np.exp(12 * s.astype(np.float64))
        p /= p.sum(1, keepdims=True)
        labels.append(np.array([g.choice(len(row), p=row) for row in p]))
    scale = fitted_scale(scores, labels)
    assert scale == pytest.approx(12, rel=0.08)
    assert held_out_error(scores[0], labels[0], scale) < 0.04 < held_out_error(scores[0], labels[0], 40)


def test_the_best_share_wins_and_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = nn.Linear(2, 2)
    trained = {n: t + 1 for n, t in tower.state_dict().items()}
    start = float(tower.weight.detach()[0, 0])
    lite: Any = SimpleNamespace(
        module=lambda: SimpleNamespace(image=tower), scale=lambda: (torch.tensor(30.0), torch.tensor(0.0))
    )
    labels = np.arange(12) % 3

    def scored(net: nn.Linear, *_: Any) -> Any:
        """All right at half way, and fewer the farther from it."""
        wrong = round(8 * abs(float(net.weight.detach()[0, 0]) - start - 0.5))
        shown = labels.copy()
        shown[:wrong] = (shown[:wrong] + 1) % 3
        return np.eye(3, dtype=np.float32)[shown]

    monkeypatch.setattr(lite_choice, "measured", scored)
    looks = [Proxy("clean", [], labels, ("a", "b", "c"))]
    found = choose(lite, trained, looks, [torch.eye(3)], tmp_path / "assets" / "views.safetensors")
    assert found["share"] == 0.5
    assert [found["top1"][s]["mean"] for s in ("0.0", "0.5", "1.0")] == [
        pytest.approx(2 / 3),
        1.0,
        pytest.approx(2 / 3),
    ]
    kept = load_file(tmp_path / "assets" / "views.safetensors")
    assert torch.allclose(kept["weight"].float(), tower.weight.detach() + 0.5, atol=2e-3)
    assert kept["weight"].dtype == torch.float16
    assert kept["bias"].dtype == torch.float32
    assert float(kept["scale"]) == pytest.approx(found["scale"])
    assert found["bytes"] == (tmp_path / "assets" / "views.safetensors").stat().st_size


def test_counts_are_not_written(tmp_path: Path) -> None:
    write(nn.BatchNorm2d(3).state_dict(), 9.0, tmp_path / "x.safetensors")
    assert set(load_file(tmp_path / "x.safetensors")) == {"weight", "bias", "running_mean", "running_var", "scale"}
