"""What breaks a promise is an assertion error with the promise as its message."""

from __future__ import annotations

import pytest
import torch

from diptych.testing.promise import ContractBroken, faults, plain, require


def test_a_promise_that_holds_is_silent_and_another_raises() -> None:
    require(True, "never read")
    with pytest.raises(ContractBroken, match=r"^scores rise$"):
        require(False, "scores rise")
    assert issubclass(ContractBroken, AssertionError)


def test_the_first_of_several_rules_is_the_message() -> None:
    faults((True, "a"), (True, "b"))
    with pytest.raises(ContractBroken, match=r"^b$"):
        faults((True, "a"), (False, "b"), (False, "c"))


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (torch.zeros(2, dtype=torch.float64), "torch.float64"),
        (torch.zeros(2, requires_grad=True), "take gradients"),
        (torch.tensor([0.0, float("nan")]), "not finite"),
    ],
)
def test_scores_are_plain(values: torch.Tensor, fault: str) -> None:
    faults(*plain(torch.zeros(2)))
    with pytest.raises(ContractBroken, match=fault):
        faults(*plain(values))
