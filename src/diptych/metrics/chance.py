"""Is an accuracy above chance? Audits of a model that guesses measure nothing."""

from __future__ import annotations

import math

from diptych.core import UsageError


def above_chance(hits: int, items: int, chance: float) -> bool:
    """Return whether so many hits come by chance with a probability of less than 0.05, one-sided and exact.

    Args:
        hits: right answers.
        items: answers; 0 is at chance.
        chance: probability that a guess is right, in (0, 1]; of K classes with equal numbers of items, 1 / K.
            Nothing is above a chance of 1, where all items are of one class.

    Raises:
        UsageError: hits are more than the items, or a probability is outside (0, 1).

    Example:
        >>> above_chance(40, 100, 0.25), above_chance(27, 100, 0.25)
        (True, False)
    """
    if not 0 <= hits <= items or not 0 < chance <= 1:
        raise UsageError(f"hits must be in [0, items] and chance in (0, 1], got {hits} of {items} and {chance}.")
    from scipy.stats import binom

    return bool(items and binom.sf(hits - 1, items, chance) < 0.05)


def at_chance(hits: int, items: int, chance: float) -> str:
    """Return why nothing is testable where an accuracy is not above chance, in one sentence; "" where it is."""
    if above_chance(hits, items, chance):
        return ""
    share = hits / items if items else math.nan
    return (
        f"{hits} of {items} answers are right ({100 * share:.0f} %), which is not above chance ({100 * chance:.0f} %): "
        f"what changes this accuracy cannot be seen."
    )
