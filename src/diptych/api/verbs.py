"""The verbs of the command line as functions of one call, with plain values in and results out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.api.model import Model, ModelLike, model_of
from diptych.api.results import (
    Results,
    of_board,
)
from diptych.core import ClassNames, UsageError
from diptych.data.format import Need
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data as open_path
from diptych.data.samples import as_data
from diptych.data.splits import ValRule
from diptych.data.words.pools import Pool
from diptych.evaluation.few_shot.board import board as board_on
from diptych.evaluation.few_shot.gains import Row
from diptych.evaluation.few_shot.plan import Plan
from diptych.evaluation.few_shot.unlabelled import Unlabelled
from diptych.tasks.runs import KEYS
from diptych.verbs.names import NamesLike, TextsLike, names_of, texts_of

PathLike = str | os.PathLike[str]


def open_data(
    data: object, *, image: str = "", text: str = "", label: str = "", group: str = "", need: Need = "any"
) -> LabelledData:
    """Open a data set: ``data["test"]`` is a split, ``list(data)`` names the splits.

    Args:
        data: a folder, a table, tars, "demo:photos" or "demo:clothes", see ``diptych.data.load.open_data``; or a
            Hugging Face dataset, or a dictionary of them.
        image: column of a table of captions or groups with the picture; here and below "" finds it by its usual names.
        text: column with a caption, or a pattern such as "caption_*".
        label: column with the class.
        group: column with the group.
        need: what the data must hold: "any", "classes", "captions", "groups", "masks", "anomalies" or "clips".

    Raises:
        UsageError: nothing is there, or nothing that gives what is needed.
        DataError: the folder or table cannot be used; the message says what to change.
    """
    if isinstance(data, (str, os.PathLike)):
        return open_path(data, need=need, image=image, text=text, label=label, group=group)
    return as_data(data)


def board(
    data: object,
    model: ModelLike = None,
    *,
    methods: str | Sequence[str] | None = None,
    shots: int | Sequence[int] = (1, 4, 16),
    seeds: int | Sequence[int] = (1, 2, 3),
    val: ValRule = "coop",
    names: NamesLike = None,
    templates: str | Sequence[str] | None = None,
    texts: TextsLike = None,
    unlabelled: PathLike | None = None,
    budget: float | None = None,
    out: PathLike | None = None,
    export: str | None = None,
) -> Results[Row]:
    """Measure every fitting classifier on one data set, with intervals and the plain baseline beside each.

    Args:
        data: with test (or val) and, for systems that learn, train: an open data set, or what ``open_data`` takes.
        model: a name, a model, or None for ``lite``.
        methods: slugs, such as ["zero-shot", "gda"]; None: all classifiers.
        shots: labelled photos per class, one number or several.
        seeds: of the draws.
        val: "coop" chooses on min(shots, 4) val photos per class, "full" on all.
        names: of the classes; None: those of the data.
        templates: prompts with "{}"; None: the ensemble of seven.
        texts: descriptions of the classes; None: those that ship for the data, if there are some.
        unlabelled: photos for systems that learn without labels; None: those of train, without their labels.
        budget: seconds for the whole board.
        out: folder that keeps finished rows, which the same call uses again; None keeps nothing.
        export: write a fitted system to out/model: "best", or a slug.

    Raises:
        UsageError: another number of names than classes, an unknown method, or an export without a folder.
        DataError: nothing can be measured.
    """
    own, opened = model_of(model), as_data(data)
    slugs: tuple[Any, ...] = _words(methods or ())
    if wrong := [m for m in slugs if not isinstance(m, str)]:
        raise UsageError(f"A board takes systems by their slugs, not {wrong[0]!r}: give such as ['gda'].")
    plan = Plan(slugs or None, _numbers(shots), _numbers(seeds), val, budget)
    pool = texts_of(texts)
    made = board_on(
        opened, own, replace(own.run, out=None if out is None else Path(out)), plan,
        classes=names_of(names, opened.classes, templates), texts=None if pool is None else Pool("given", pool),
        unlabelled=None if unlabelled is None else Unlabelled.open(os.fspath(unlabelled)), export=export,
        source=os.fspath(data) if isinstance(data, (str, os.PathLike)) else opened.name,
    )  # fmt: skip
    return of_board(made, own.spec.name)


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    return ClassNames.of(given).names if isinstance(given, str) and given.strip() else tuple(given)


def _numbers(given: int | Sequence[int]) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)


def _keys(model: Model) -> FileKeys:
    """Return remembered content keys of files: those of the model's cache folder."""
    return FileKeys(None if model.run.cache is None else model.run.cache.parent / KEYS)
