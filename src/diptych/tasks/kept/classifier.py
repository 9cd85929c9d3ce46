"""Classifiers in the folders that ``features.artefacts`` writes, such as released files that were converted: they are
used as exported models are, but have no calibration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diptych.core import Backbone, Classifier, DataError, FittedClassifier, Kit, UsageError
from diptych.core.wording import first_of
from diptych.features import artefacts, portable, spaces
from diptych.features.artefacts import About


def is_kept(folder: Path) -> bool:
    """Return whether a folder holds what a system fitted."""
    return (folder / portable.DESCRIPTION).is_file()


def about_kept(folder: Path) -> dict[str, Any]:
    """Return what a folder says of its classifier, by the names that ``model.json`` has for the same.

    Raises:
        UsageError: it holds no classifier of photos, or one without a backbone.
        DataError: it is damaged.
    """
    about = artefacts.stated(folder)
    if about.system is not None and not isinstance(about.system, Classifier):
        raise _no_classifier(folder, about)
    prints = spaces.fingerprints_of(spaces.stated(folder))
    if not about.backbone or not prints:
        raise UsageError(f"{folder} holds a classifier without a backbone, which classifies no photos: give another.")
    return {
        "method": about.slug, "classes": about.classes, "spec": {"name": about.backbone}, "fingerprint": prints[0],
    }  # fmt: skip


def read_kept(folder: Path, backbone: Backbone) -> FittedClassifier:
    """Return the classifier of a folder; it is untrusted, and nothing in it is run.

    Raises:
        UsageError: it was fitted on another backbone, or is no classifier.
        DataError: it is damaged, or states other classes than those of the classifier.
    """
    about, fitted = artefacts.stated(folder), artefacts.load(folder, Kit.of(backbone))
    if not isinstance(fitted, FittedClassifier):
        raise _no_classifier(folder, about)
    if about.classes and fitted.classes.names != about.classes:
        lists = ((len(names), first_of(names)) for names in (about.classes, fitted.classes.names))
        stated, own = (f"{count} classes ({names})" for count, names in lists)
        raise DataError(
            f"{folder / portable.DESCRIPTION} states {stated}, and its classifier knows {own}: write the folder anew."
        )
    return fitted


def _no_classifier(folder: Path, about: About) -> UsageError:
    slug = about.slug or "another system"
    verb = "" if about.system is None else f", which belongs to 'diptych {about.system.card.verb}'"
    return UsageError(f"{folder} holds what {slug} fitted{verb}: give the folder of a classifier of photos.")
