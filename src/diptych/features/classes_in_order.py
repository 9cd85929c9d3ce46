"""A fitted classifier on data whose classes are the same in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from diptych.core import ClassNames, FittedClassifier, Run, Samples, Scores
from diptych.core.wording import first_of
from diptych.data.words.classnames import tidy


@dataclass(frozen=True)
class InOrder(FittedClassifier):
    """A fitted classifier whose classes stand in the order of the data.

    Args:
        fitted: the classifier, with K classes.
        order: (K,) position among its classes of each class of the data.
        classes: names in the order of the data, templates of the classifier.

    Example:
        >>> import torch
        >>> class Always(FittedClassifier):
        ...     classes = ClassNames(("cat", "dog"))
        ...     def scores(self, items, run):
        ...         return Scores(torch.tensor([[0.1, 0.9]]), "cosine")
        >>> InOrder(Always(), (1, 0), ClassNames(("dog", "cat"))).scores([], Run()).values.tolist()
        [[0.8999999761581421, 0.10000000149011612]]
    """

    fitted: FittedClassifier
    order: tuple[int, ...]
    classes: ClassNames

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return the (N, K) scores of N items, in the order of the data's classes."""
        scores, order = self.fitted.scores(items, run), list(self.order)
        candidates = None if scores.candidates is None else scores.candidates[:, order]
        return replace(scores, values=scores.values[:, order], candidates=candidates)


def order_of(fitted: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...] | None:
    """Return the position among the fitted classes of each wanted one, by tidied names; None where they differ.

    Example:
        >>> order_of(["cat", "polar_bear"], ["polar bear", "cat"])
        (1, 0)
        >>> order_of(["cat"], ["cat", "dog"]) is None
        True
    """
    names, targets = [tidy(name) for name in fitted], [tidy(name) for name in wanted]
    if names == targets:
        return tuple(range(len(names)))
    if len(set(names)) < len(names) or sorted(names) != sorted(targets):
        return None
    return tuple(names.index(target) for target in targets)


def differences(fitted: Sequence[str], wanted: Sequence[str]) -> str:
    """Say which classes only one of both has, the first three of each.

    Example:
        >>> differences(["cat", "dog"], ["cat", "eel"])
        'it lacks eel and it has dog, which the data have not'
    """
    names, targets = dict.fromkeys(map(tidy, fitted)), dict.fromkeys(map(tidy, wanted))
    lacks, more = [n for n in targets if n not in names], [n for n in names if n not in targets]
    parts = [f"it lacks {first_of(lacks)}"] if lacks else []
    parts += [f"it has {first_of(more)}, which the data have not"] if more else []
    return " and ".join(parts) or "several of its names are one when they are tidied"
