"""Classifiers that were fitted before, as rows of a board: read from a folder and measured, without fitting again.

Both kinds of folder are read: a model that ``board classify --export`` or ``Predictor.save`` wrote, and what
``features.artefacts.save`` wrote, such as a released file that was converted.
"""

from __future__ import annotations

from dataclasses import replace
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
    UsageError,
)
from diptych.evaluation.arms import Loaded
from diptych.features import artefacts, packing, portable
from diptych.features.artefacts import About
from diptych.features.classes_in_order import InOrder, differences, order_of
from diptych.tasks import model


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
            system = packing.plain(facts["system"], folder)
            return system if isinstance(system, Method) else None
        return catalog.row(catalog.find(slug, Classifier), str(facts.get("variant", "")))
    except (DataError, UsageError, KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return None


def read(
    folder: Path, about: About, backbone: Backbone, data: str, classes: ClassNames, *, renames: bool = True
) -> Loaded:
    """Return the classifier of a folder for the classes of a data set.

    Args:
        folder: of the classifier; it is treated as untrusted, and nothing in it is run.
        about: what ``stated`` returned for it.
        backbone: of the board.
        data: name of the data set.
        classes: its K names, in the order of its labels.
        renames: whether the user can give other names of the classes.

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
        why = differences(fitted.classes.names, classes.names)
        raise UsageError(
            f"{folder} was fitted for other classes than those of {data}: {why}; measure it on photos of its classes"
            f"{', or give {names} as it has them' if renames else ''}."
        )
    if order != tuple(range(len(order))):
        fitted = InOrder(fitted, order, replace(fitted.classes, names=classes.names, words=(), things=()))
    return Loaded(str(folder), portable.checksum(folder), about, fitted)
