"""CLIP's loss, summed over several pairs of modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from diptych.core import Clock, Embedded, Objective
from diptych.nn.contrastive import contrastive


@dataclass(frozen=True)
class SummedPairs(Objective):
    """Sum CLIP's loss over pairs of modalities, and over both directions of a pair.

        L = sum over pairs of CE(Z, I) + CE(Z^T, I)

    Z is the (B, B) matrix of scaled cosines of a pair, and I says that row i belongs to column i. The loss is 2 ln B a
    pair if all embeddings are equal.

    Args:
        pairs: pairs of modalities.

    Source: AstroM3, section 3.3.
    """

    pairs: tuple[tuple[str, str], ...]

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return one term per pair."""
        return {"-".join(pair): 2 * contrastive(e, pair) for pair in self.pairs}
