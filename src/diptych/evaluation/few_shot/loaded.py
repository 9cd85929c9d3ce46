"""Classifiers that were fitted before, as rows of a board: read from a folder and measured, without fitting again.

Both kinds of folder are read: a model that ``board classify --export`` or ``Predictor.save`` wrote, and what
``features.artefacts.save`` wrote, such as a released file that was converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    DataError,
    FittedClassifier,
    Kit,
    Method,
    Run,
    Samples,
    Scores,
    UsageError,
)
from diptych.core.wording import first_of
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import Loaded
from diptych.features import artefacts, portable
from diptych.features.artefacts import About
from diptych.tasks import model


@dataclass(frozen=True)
class InOrder(FittedClassifier):
    """A fitted classifier whose classes stand in the order of the data.

    Args:
        fitted: the classifier, with K classes.
        order: (K,) position among its classes of each class of the data.
        classes: names in the order of the data, templates of the classifier.
    """

    fitted: FittedClassifier
    order: tuple[int, ...]
    classes: ClassNames

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return the (N, K) scores of N items, in the order of the data's classes."""
        scores, order = self.fitted.scores(items, run), list(self.order)
        candidates = None if scores.candidates is None else scores.candidates[:, order]
        return replace(scores, values=scores.values[:, order], candidates=candidates)


def stated(folder: Path) -> About:
    """Return what the folder of a classifier says of its content, without loading it.

    Raises:
        UsageError: there is no such folder, or it has another schema.
        DataError: it holds nothing fitted.
    """
    if not (folder / model.ABOUT).is_file():
        return artefacts.stated(folder)
    facts = model.read_about(folder)
    slug, classes = str(facts.get("method", "")), facts.get("classes", ())
    versions = facts.get("versions")
    version = str(versions.get("diptych", "")) if isinstance(versions, dict) else ""
    names = tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else ()
    return About(slug, _system(facts, slug, folder), names, str(facts["spec"]["name"]), version)


def _system(facts: dict[str, Any], slug: str, folder: Path) -> Method | None:
    """Return the system of an exported model with its settings; None where it is not known here."""
    try:
        if "system" in facts:
            system = portable.plain(facts["system"], folder)
            return system if isinstance(system, Method) else None
        return catalog.row(catalog.find(slug, Classifier), str(facts.get("variant", "")))
    except (DataError, UsageError, KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return None


def read(folder: Path, about: About, backbone: Backbone, data: str, classes: ClassNames) -> Loaded:
    """Return the classifier of a folder for the classes of a data set.

    Args:
        folder: of the classifier; it is treated as untrusted, and nothing in it is run.
        about: what ``stated`` returned for it.
        backbone: of the board.
        data: name of the data set.
        classes: its K names, in the order of its labels.

    Raises:
        UsageError: it was fitted on another backbone or needs another part, or its classes are not those of the data.
        DataError: the folder is damaged, or holds no classifier.
    """
    if (folder / model.ABOUT).is_file():
        fitted: Any = model.load(folder, backbone).fitted
    else:
        fitted = artefacts.load(folder, Kit.of(backbone))
    if not isinstance(fitted, FittedClassifier):
        raise DataError(f"{folder} holds a {type(fitted).__name__} and no classifier: give another {{fitted}}.")
    order = order_of(fitted.classes.names, classes.names)
    if order is None:
        why = _differences(fitted.classes.names, classes.names)
        raise UsageError(
            f"{folder} was fitted for other classes than those of {data}: {why}; measure it on photos of its classes, "
            f"or give {{names}} as it has them."
        )
    if order != tuple(range(len(order))):
        fitted = InOrder(fitted, order, replace(fitted.classes, names=classes.names, words=(), things=()))
    return Loaded(str(folder), portable.checksum(folder), about, fitted)


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


def _differences(fitted: Sequence[str], wanted: Sequence[str]) -> str:
    """Say which classes only one of both has, the first three of each."""
    names, targets = dict.fromkeys(map(tidy, fitted)), dict.fromkeys(map(tidy, wanted))
    lacks, more = [n for n in targets if n not in names], [n for n in names if n not in targets]
    parts = [f"it lacks {first_of(lacks)}"] if lacks else []
    parts += [f"it has {first_of(more)}, which the data have not"] if more else []
    return " and ".join(parts) or "several of its names are one when they are tidied"
