"""Checked access to evidence, so that missing parts raise before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import ClassNames, DataError, Evidence, MissingEvidence, Table


def shots(evidence: Evidence[Any], classes: ClassNames) -> tuple[Table[Any], NDArray[np.int64]]:
    """Return the train table and its (N,) labels, with at least one item of every class.

    Raises:
        MissingEvidence: ``evidence.train`` was not given.
        DataError: a label is outside the class list, or a class has no train item.
    """
    if evidence.train is None:
        raise MissingEvidence(
            "This system learns from labelled images, and evidence.train is missing: give a train split, or shots "
            "drawn from one."
        )
    labels = _labels(evidence.train, classes, "train")
    counts = np.bincount(labels, minlength=len(classes))
    empty = [classes.names[k] for k in np.flatnonzero(counts == 0)]
    if empty:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise DataError(
            f"No train image of class {', '.join(map(repr, empty[:5]))}{more}: give at least one image per class, or "
            f"drop the name."
        )
    return evidence.train, labels


def held_out(evidence: Evidence[Any], classes: ClassNames, choosing: str) -> tuple[Table[Any], NDArray[np.int64]]:
    """Return the validation table and its (N,) labels; errors name what is chosen on it, such as "alpha".

    Raises:
        MissingEvidence: ``evidence.val`` was not given or is empty.
        DataError: a label is outside the class list.
    """
    if evidence.val is None or len(evidence.val) == 0:
        raise MissingEvidence(
            f"Choosing {choosing} needs evidence.val, labelled items apart from train: give a val split (in Python "
            f"val=...), or set {choosing} yourself."
        )
    return evidence.val, _labels(evidence.val, classes, "val")


def _labels(table: Table[Any], classes: ClassNames, split: str) -> NDArray[np.int64]:
    labels = table.labels()
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if outside.size:
        raise DataError(
            f"The {split} split holds label {outside[0]}, and there are {len(classes)} class names: give one name a "
            f"label, from 0."
        )
    return labels


def training_rows(evidence: Evidence[Any], slug: str) -> Table[Any]:
    """Return the train table of a recipe.

    Raises:
        MissingEvidence: there is none.
    """
    if evidence.train is None:
        raise MissingEvidence(f"{slug} needs rows for training, and there is no train split: add one.")
    return evidence.train


def normal_photos(evidence: Evidence[Any]) -> Table[Any]:
    """Return the rows of train whose label is 0 ("normal"); without labels, all rows.

    Raises:
        MissingEvidence: ``evidence.train`` was not given.
        DataError: no photo is normal.
    """
    if evidence.train is None:
        raise MissingEvidence(
            "This system learns what is normal, and evidence.train is missing: give photos without anomalies."
        )
    table = evidence.train
    normal = table.take(np.flatnonzero(table.labels() == 0).tolist()) if "label" in table.columns else table
    if len(normal) == 0:
        raise DataError("There is no normal photo to learn from: give some, of the same kind as those to judge.")
    return normal


def known_anomalies(evidence: Evidence[Any]) -> tuple[Table[Any], NDArray[np.int64]]:
    """Return the auxiliary table and its (N,) labels, 0 normal and 1 anomalous, both present.

    Raises:
        MissingEvidence: ``evidence.auxiliary`` was not given.
        DataError: a label is neither 0 nor 1, or one of the two does not occur.
    """
    if evidence.auxiliary is None:
        raise MissingEvidence(
            "This system learns from anomalies of other things, and evidence.auxiliary is missing: give a data set "
            "with both kinds."
        )
    labels = evidence.auxiliary.labels()
    if set(labels.tolist()) != {0, 1}:
        raise DataError(
            f"The auxiliary data set has the labels {sorted(set(labels.tolist()))}: it needs 0 (normal) and 1 "
            f"(anomalous)."
        )
    return evidence.auxiliary, labels


def texts_of(table: Table[Any] | None) -> tuple[Table[Any], tuple[str, ...], NDArray[np.int64]]:
    """Return the table, its K distinct texts in order of first occurrence, and the (N,) position of each row's text.

    Args:
        table: N rows with a column "captions" of one text per row. Rows of a class have the same text.

    Raises:
        MissingEvidence: there is no table.
        DataError: it has no captions, or a row has none or several.
    """
    if table is None:
        raise MissingEvidence(
            "This system learns from items with a text each, and evidence.train is missing: give one."
        )
    column = table.columns.get("captions")
    if column is None:
        raise DataError(
            "This table has no captions: give each item its text, such as 'a photo of a cat.' for all of a class."
        )
    rows = [(value,) if isinstance(value, str) else tuple(value) for value in column.values]
    if odd := [i for i, row in enumerate(rows) if len(row) != 1]:
        raise DataError(f"{table.items.name(odd[0])} has {len(rows[odd[0]])} texts: give every item exactly one.")
    position = {text: k for k, text in enumerate(dict.fromkeys(row[0] for row in rows))}
    return table, tuple(position), np.array([position[row[0]] for row in rows], dtype=np.int64)


def captioned_images(evidence: Evidence[Any]) -> Table[Any]:
    """Return the train table, whose column "captions" has at least one caption per row.

    Raises:
        MissingEvidence: ``evidence.train`` was not given, has no captions or no rows.
        DataError: a row has no caption.
    """
    table = evidence.train
    if table is None or "captions" not in table.columns or not len(table):
        raise MissingEvidence(
            "This system learns from images with captions, and there are none: give a table with a picture and "
            "captions in each row."
        )
    for i, captions in enumerate(table.columns["captions"].values):
        if not any(str(text).strip() for text in captions):
            raise DataError(f"{table.items.name(i)} has no caption: fill it, or remove the row.")
    return table


def grouped_labels(table: Table[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Return (N,) labels, (N,) group positions and the A group names of a table.

    Raises:
        DataError: there is no group column, or it has one group alone.
    """
    column = table.columns.get("group")
    if column is None or column.kind != "group":
        raise DataError(
            "This table has no group column: name the column with the background, domain or another property."
        )
    names, groups = np.unique(np.asarray(column.values, dtype=np.str_), return_inverse=True)
    if len(names) < 2:
        raise DataError(f"All items are of one group ({', '.join(names)}): an audit compares at least two.")
    return table.labels(), groups.astype(np.int64), tuple(names.tolist())
