"""What breaks a promise, and the rules that answers of several roles are held against."""

from __future__ import annotations

import torch


class ContractBroken(AssertionError):
    """A system breaks a promise that every system keeps."""


def require(holds: bool, promise: str) -> None:
    """Raise where a promise does not hold.

    Raises:
        ContractBroken: it does not; the message is the promise.
    """
    if not holds:
        raise ContractBroken(promise)


def plain(values: torch.Tensor) -> tuple[tuple[bool, str], ...]:
    """Return what scores must be, as rules for ``faults``: finite float32 on the CPU, without gradients."""
    return (
        (values.dtype == torch.float32, f"scores are {values.dtype}, not torch.float32"),
        (not values.requires_grad, "scores take gradients: compute them within torch.no_grad()"),
        (values.device.type == "cpu", f"scores are on {values.device}, not on the CPU"),
        (bool(torch.isfinite(values).all()), "scores are not finite"),
    )


def faults(*rules: tuple[bool, str]) -> None:
    """Raise the first of several rules that does not hold.

    Raises:
        ContractBroken: one does not.
    """
    for holds, promise in rules:
        require(holds, promise)
