from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from diptych.core import DataError, UsageError
from diptych.nn.vector_head import VectorHead, fit_head, load_head

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5))
Y = X[:, 0] + 0.3 * RNG.normal(size=300) > 0


def test_layers_of_others_are_applied_as_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Dropout(), torch.nn.Linear(7, 3), torch.nn.Linear(3, 1))
    save_file({f"layers.{k}": v for k, v in net.state_dict().items()}, tmp_path / "aesthetic.safetensors")
    head = load_head(tmp_path / "aesthetic.safetensors")
    unit = torch.nn.functional.normalize(torch.from_numpy(X), dim=1).float()
    with torch.no_grad():
        assert head.scores(X) == pytest.approx(net.eval()(unit)[:, 0].numpy(), abs=1e-5)
    assert (head.classifier, head.backbone, head.name, head.high) == (False, "", "aesthetic", 10.0)
    head.check("any")


def test_a_fitted_head_is_logistic_regression_and_comes_back(tmp_path: Path) -> None:
    head = fit_head(X[:200], Y[:200], X[200:], Y[200:], name="right", backbone="b")
    weight, bias = head.layers[0]
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert head.scores(X) == pytest.approx(1 / (1 + np.exp(-(unit @ weight[0] + bias[0]))))
    assert ((head.val > 0.5) == head.right).mean() > 0.8
    assert (head.val == head.scores(X[200:])).all()
    head.save(tmp_path / "h")
    again = load_head(tmp_path / "h")
    assert again.digest == head.digest
    assert (again.val == head.val).all()
    assert (again.right == head.right).all()
    assert (again.name, again.backbone, again.classifier) == ("right", "b", True)
    with pytest.raises(UsageError, match="was fitted on the backbone b"):
        again.check("other")
    with pytest.raises(UsageError, match="reads vectors of 5 numbers"):
        again.scores(np.zeros((2, 4)))


def test_relu_stands_between_layers_alone() -> None:
    layers = ((np.array([[1.0], [-1.0]]), np.zeros(2)), (np.array([[1.0, -2.0]]), np.zeros(1)))
    head = VectorHead(layers, activation="relu", classifier=False, low=-5, high=5)
    assert head.scores(np.array([[3.0], [-3.0]])).tolist() == [1.0, -2.0]


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no head"):
        load_head(tmp_path / "absent")
    (tmp_path / "bad").write_text("x")
    with pytest.raises(DataError, match="holds no head"):
        load_head(tmp_path / "bad")
    save_file({"a.0.weight": torch.zeros(2, 3), "a.0.bias": torch.zeros(2)}, tmp_path / "two")
    with pytest.raises(DataError, match="are no head"):
        load_head(tmp_path / "two")
    wide = {"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(2)}
    save_file({**wide, "1.weight": torch.zeros(1, 3), "1.bias": torch.zeros(1)}, tmp_path / "gap")
    with pytest.raises(DataError, match="widths of linear layers must"):
        load_head(tmp_path / "gap")
    with pytest.raises(DataError, match="fitted on 10 pictures of each kind at least, not 0"):
        fit_head(X, np.ones(300, bool), X, Y)
    with pytest.raises(DataError, match="checked on 10"):
        fit_head(X, Y, X[:4], Y[:4])
