"""AstroM3: three small towers, no image and no text, one scale a pair, the sum of three losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core.backbone import Encoder, Inputs, Space
from diptych.core.card import Card, Needs
from diptych.core.data import Column, Table, Texts
from diptych.core.run import Run
from diptych.core.spec import PixelRecipe, Spec
from diptych.core.train import Clock, Embedded, Objective
from diptych.nn.contrastive import contrastive
from diptych.train.loop import train
from diptych.train.pair import PairTrainee
from diptych.train.schedule import Fit

SIZES = {"photometry": 9, "spectrum": 12, "metadata": 5}
PAIRS = (("photometry", "spectrum"), ("spectrum", "metadata"), ("metadata", "photometry"))
SPEC = Spec("stars", "test", "mlp", "", "gelu", "", 0, 0, "mean", 8, PixelRecipe(1, (0, 0, 0), (1, 1, 1)))
RUN = Run(workers=0)


@dataclass(frozen=True)
class Vectors:
    """Encoder of one modality whose items are arrays."""

    net: nn.Module
    modality: str
    dim: int = 8
    size: int | None = None
    fingerprint: str = "random"

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Inputs:
        return torch.tensor(np.stack(items), dtype=torch.float32)

    def encode(self, x: Inputs, /) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Stars(Space):
    def __init__(self, module: nn.ModuleDict) -> None:
        self._module = module

    score: Literal["softmax", "sigmoid"] = "softmax"
    spec = SPEC

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        return {m: Vectors(self._module[m], m) for m in SIZES}

    def scale(self, a: str = "photometry", b: str = "spectrum") -> tuple[Tensor, Tensor]:
        holder = self._module["-".join(sorted((a, b)))]
        return holder.logit_scale.exp(), torch.zeros(())  # type: ignore[operator, union-attr]

    def module(self) -> nn.Module:
        return self._module

    def rebuild(self, module: nn.Module, spec: Spec) -> Space:
        assert isinstance(module, nn.ModuleDict)
        return Stars(module)


def stars() -> Stars:
    with RUN.seeded("stars"):
        parts: dict[str, nn.Module] = {
            m: nn.Sequential(nn.Linear(n, 32), nn.GELU(), nn.Linear(32, 8)) for m, n in SIZES.items()
        }
    for a, b in PAIRS:
        parts["-".join(sorted((a, b)))] = holder = nn.Module()
        holder.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))
    return Stars(nn.ModuleDict(parts))


@dataclass(frozen=True)
class ThreePairs(Objective):
    """L = sum over pairs of CE(Z) + CE(Z^T): twice CLIP's mean of both directions."""

    card: ClassVar[Card] = Card(
        "astrom3", "AstroM3", "", "https://arxiv.org/abs/2411.08842", 2024, "extend", "", Needs(hooks=()), "towers"
    )

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        return {"-".join(pair): 2 * contrastive(e, pair) for pair in PAIRS}


def table(shuffled: bool = False) -> Table[str]:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(64, 4))
    columns = {m: hidden @ rng.normal(size=(4, n)) for m, n in SIZES.items()}
    if shuffled:
        columns["spectrum"] = rng.permutation(columns["spectrum"])
    return Table(Texts(tuple(f"star {i}" for i in range(64))), {m: Column("vector", v) for m, v in columns.items()})


def fitted(data: Table[str]) -> tuple[Space, list[dict[str, Any]]]:
    read = {m: lambda row, g, m=m: row.columns[m] for m in SIZES}
    trainee = PairTrainee(stars(), ThreePairs(), RUN, read=read)
    records = train(trainee, data, Fit(lr=5e-3, batch=32, epochs=60, decay=0.0), RUN).records
    return trainee.trained(), list(records)


def recall(space: Space, a: str, b: str) -> float:
    columns = table().columns
    with torch.no_grad():
        x, y = (
            normalize(space.encoders[m].encode(space.encoders[m].inputs(list(columns[m].values))), dim=-1)
            for m in (a, b)
        )
    return float((x @ y.T).argmax(1).eq(torch.arange(64)).float().mean())


def test_all_three_pairs_find_each_other() -> None:
    space, records = fitted(table())
    assert all(recall(space, *pair) > 0.8 for pair in PAIRS)
    assert {f"main/{a}-{b}" for a, b in PAIRS} <= set(records[0])


def test_shuffled_spectra_leave_only_the_other_pair() -> None:
    space, _ = fitted(table(shuffled=True))
    assert recall(space, "metadata", "photometry") > 0.8
    assert recall(space, "photometry", "spectrum") < 0.2


def test_uniform_logits_cost_two_ln_b_a_pair() -> None:
    space = stars()
    same = Embedded({m: torch.ones(8, 8) for m in SIZES}, space.scale, lambda x: x)
    terms = ThreePairs().terms(same, nn.Identity(), Clock(0, 1, 0, torch.Generator()))
    assert [t.item() for t in terms.values()] == pytest.approx([2 * math.log(8)] * 3, rel=1e-5)


def test_scales_learn_apart() -> None:
    space, _ = fitted(table(shuffled=True))
    scales = {pair: space.scale(*pair)[0].item() for pair in PAIRS}
    assert scales[PAIRS[2]] > scales[PAIRS[0]]
