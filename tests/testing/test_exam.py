"""Each promise that all roles share is broken by a system that was written for it."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from diptych.core import Backbone, Card, ClassNames, Evidence, Kit, Needs, Run
from diptych.methods.classify.zero_shot import FittedZeroShot, ZeroShot
from diptych.testing import ContractBroken, checks
from diptych.testing.backbones import small_clip

CARD = replace(ZeroShot.card, slug="outsider", variants={"": {}})


@dataclass(frozen=True)
class Honest(ZeroShot):
    """Zero-shot by another name.

    Args:
        templates: see ``ZeroShot``.

    Source: nowhere.
    """

    card: ClassVar[Card] = CARD


def spoiled(spoil: Any, card: Card = CARD, after: Any = None) -> type[ZeroShot]:
    """A system that does something more in its fit."""

    @dataclass(frozen=True)
    class Spoiled(Honest):
        def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedZeroShot:
            spoil(kit, evidence, run)
            fitted = super().fit(kit, classes, evidence, run)
            return fitted if after is None else after(fitted)

    Spoiled.card = card
    return Spoiled


def noisy(fitted: FittedZeroShot) -> FittedZeroShot:
    return replace(fitted, head=fitted.head + torch.randn(fitted.head.shape))


def by_mode(fitted: FittedZeroShot) -> FittedZeroShot:
    return replace(fitted, head=fitted.head * (2.0 if torch.is_grad_enabled() else 1.0))


def write(kit: Kit, evidence: Evidence[Any], run: Run) -> None:
    with torch.no_grad():
        next(kit.need(Backbone).module().parameters()).add_(1e-3)


def write_data(kit: Kit, evidence: Evidence[Any], run: Run) -> None:
    values = evidence.train.columns["label"].values
    values.flags.writeable = True
    values[:] = values[::-1].copy()


def nothing(*given: Any) -> None:
    pass


BROKEN = {
    "same_seed_same_bits": (spoiled(nothing, after=noisy), "draw from run.generator"),
    "gradient_mode_does_not_matter": (spoiled(nothing, after=by_mode), "whether gradients are on"),
    "inputs_are_not_written": (spoiled(write), "writes into main"),
    "missing_evidence_is_named": (spoiled(nothing, replace(CARD, needs=Needs(evidence=("train",)))), "it goes on"),
    "a_missing_hook_is_named": (spoiled(nothing, replace(CARD, needs=Needs(hooks=("image", "tower:text")))), "goes on"),
    "the_card_is_complete": (spoiled(nothing, replace(CARD, claim="no sentence")), "the claim must be a sentence"),
    "parameters_are_frozen_and_documented": (type("Bare", (ZeroShot,), {"card": CARD, "__doc__": ""}), "Source: ..."),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_named(name: str) -> None:
    system, message = BROKEN[name]
    with pytest.raises(ContractBroken, match=message.replace(".", r"\.")):
        dict(checks(system))[name]()


def test_a_system_without_a_backbone_learns_how_its_card_says_so() -> None:
    """A detector that reads pixels alone was told to raise MissingPart, and nothing said what its card lacks."""

    @dataclass(frozen=True)
    class Alone(Honest):
        def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedZeroShot:
            return super().fit(Kit({"main": small_clip()}), classes, evidence, run)

    with pytest.raises(ContractBroken, match=r'reads no backbone says "needs\.hooks = \[\]"'):
        dict(checks(Alone))["a_missing_part_is_named"]()
    Alone.card = replace(CARD, needs=Needs(hooks=()))
    assert "a_missing_part_is_named" not in dict(checks(Alone))


def test_data_that_are_written_are_noticed() -> None:
    with pytest.raises(ContractBroken, match="writes into the data"):
        dict(checks(spoiled(write_data)))["inputs_are_not_written"]()


@pytest.mark.parametrize(
    ("touch", "what"),
    [
        (lambda *given: torch.rand(1), "the generator of torch"),
        (lambda *given: np.random.rand(), "the generator of NumPy"),  # noqa: NPY002
        (lambda *given: random.random(), "the generator of Python"),
        (lambda *given: torch.set_grad_enabled(not torch.is_grad_enabled()), "the gradient mode"),
    ],
)
def test_what_is_touched_is_named_and_given_back(touch: Any, what: str) -> None:
    grad, filters = torch.is_grad_enabled(), list(warnings.filters)
    with pytest.raises(ContractBroken, match=f"changes {what}: give it back"):
        dict(checks(spoiled(touch)))["global_state_is_untouched"]()
    assert torch.is_grad_enabled() is grad
    assert list(warnings.filters) == filters


def test_an_honest_system_of_this_file_keeps_every_promise() -> None:
    """Its fitted class is ZeroShot's, which is written and read by its name."""
    for _, check in checks(Honest):
        check()
