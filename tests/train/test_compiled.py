"""Compiled blocks train as eager ones do, up to rounding, and only for the time of a training."""

from __future__ import annotations

import copy
import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diptych.core import MissingHook, Run, Table, Texts, UsageError
from diptych.features.vectors import Vectors
from diptych.train.compiled import compiled
from diptych.train.loop import train
from diptych.train.schedule import Fit
from diptych.train.step import Step

COMPILER = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def tower() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"blocks": nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.GELU()) for _ in range(2))})


def is_compiled(module: nn.ModuleDict) -> list[bool]:
    return [block._compiled_call_impl is not None for block in module["blocks"]]  # type: ignore[union-attr]


def trained(on: bool) -> tuple[nn.ModuleDict, list[list[bool]]]:
    """Return a tower after four steps, and whether it and a copy of it were compiled during them."""
    module = tower()

    def loss(batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        x = batch["x"]
        for block in module["blocks"]:  # type: ignore[union-attr]
            x = block(x)
        return {"square": x.square().mean()}

    rows = Table(Vectors(torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), Texts(tuple("abcdefgh"))))
    seen: list[list[bool]] = []

    def watch(step: int) -> dict[str, float]:
        seen.extend((is_compiled(module), is_compiled(copy.deepcopy(module))))
        return {}

    step = Step(module, lambda row, g: {"x": row.item}, loss)
    train(step, rows, Fit(0.1, 4, steps=4, optimizer="sgd", compile=on, watch_every=2), Run(workers=0), watch=watch)
    return module, seen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what torch's compiler warns of is its own
@pytest.mark.skipif(shutil.which(COMPILER) is None, reason="torch compiles for a CPU by a C++ compiler")
def test_compiled_blocks_train_alike_and_are_eager_afterwards() -> None:
    (eager, never), (fast, during) = trained(False), trained(True)
    assert never == [[False, False]] * 2
    assert during == [[True, True], [False, False]]
    assert is_compiled(fast) == [False, False]
    for name, p in eager.named_parameters():
        torch.testing.assert_close(fast.get_parameter(name), p, rtol=1e-5, atol=1e-6, msg=name)


def test_what_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingHook, match="no towers of blocks"), compiled(nn.Linear(2, 2)):
        pass
    monkeypatch.setenv("CXX", "no-such-compiler")
    if sys.platform != "win32":
        with pytest.raises(UsageError, match="there is no no-such-compiler"), compiled(tower()):
            pass


def test_without_a_module_nothing_is_compiled() -> None:
    with compiled(None):
        pass
