"""The verbs of the command line as functions of one call, with plain values in and results out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from diptych.api.model import Model, ModelLike, listed, load, model_of
from diptych.api.results import (
    Results,
    of_answer,
    of_audited,
    of_board,
)
from diptych.core import ClassNames, Column, Table, Texts, UsageError
from diptych.data.format import Need
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data as open_path
from diptych.data.load import open_records
from diptych.data.records.records import joined
from diptych.data.records.roots import root
from diptych.data.samples import as_data, as_samples, as_table
from diptych.data.splits import ValRule
from diptych.data.words.pools import Pool
from diptych.evaluation.few_shot.board import board as board_on
from diptych.evaluation.few_shot.gains import Row
from diptych.evaluation.few_shot.plan import Plan
from diptych.evaluation.few_shot.unlabelled import Unlabelled
from diptych.search_index.index import Index
from diptych.search_index.rows import Found, Modality
from diptych.tasks.audit import groups as audits
from diptych.tasks.encode import write as encode_task
from diptych.tasks.extend import untrained_space
from diptych.tasks.runs import KEYS, Precision
from diptych.tasks.search import ask as search_task
from diptych.tasks.search import index as index_task
from diptych.tasks.search.spaces import untrained_name
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


def encode(
    photos: object = None,
    out: PathLike = "embeddings",
    model: ModelLike = None,
    *,
    texts: str | Sequence[str] | None = None,
    overwrite: bool = False,
) -> encode_task.Encoded:
    """Write unit embeddings to a folder, in the layout of clip-retrieval; ``Model.encode_image`` returns them instead.

    Args:
        photos: a data set or photos, see ``classify``.
        out: folder to write.
        model: a name, a model, or None for ``lite``.
        texts: encode texts instead of photos.
        overwrite: replace the files of an earlier run.

    Raises:
        UsageError: neither photos nor texts, or both; the folder holds embeddings.
        DataError: nothing can be read.
    """
    if (photos is None) == (texts is None):
        raise UsageError("Give either photos or texts=[...].")
    own = model_of(model)
    with _keys(own) as keys:
        given: LabelledData | Texts
        if texts is not None:
            given = Texts(listed(texts))
        elif isinstance(photos, (str, os.PathLike)):
            given = open_path(photos, keys, need="photos")
        else:
            single = isinstance(photos, LabelledData)
            given = cast(LabelledData, photos) if single else as_data(as_table(photos, keys))
        return encode_task.encode(given, own, replace(own.run, batch=0, workers=0), Path(out), overwrite=overwrite)


def index(
    photos: PathLike | Sequence[PathLike],
    out: PathLike = "photo-index",
    model: ModelLike = None,
    *,
    image: str = "",
    caption: str = "",
    prune: bool = False,
) -> index_task.Indexed:
    """Make a search index of photos and captions, or add to one; unchanged files are not read again.

    Args:
        photos: a folder, a table with captions, a .tar file, a picture, or several: an index names what lies on disk.
        out: folder of the index; made if absent, else added to.
        model: a name, a model, or None for ``lite``.
        image: column of a table with the picture's path.
        caption: column of a table with the caption.
        prune: delete entries below ``photos`` that are no longer there.

    Raises:
        UsageError: these are no paths, or the index was made with another model.
        DataError: nothing can be read.
    """
    if hasattr(photos, "columns"):
        raise UsageError("An index holds files: give the paths, df['path'], or the table as a .csv file.")
    paths: list[Any] = [photos] if isinstance(photos, (str, os.PathLike)) else list(photos)
    if wrong := [p for p in paths if not isinstance(p, (str, os.PathLike))]:
        raise UsageError(f"An index holds files, not a {type(wrong[0]).__name__}: give paths of photos or folders.")
    own = model_of(model)
    run = replace(own.run, batch=0, workers=0)
    with _keys(own) as keys:
        records = joined([open_records(p, keys, image=image, text=caption, vectors=True) for p in paths])
        gone = [root(os.fspath(p), image or None) for p in paths] if prune else ()
        return index_task.index(records, own, run, Path(out), prune=gone)


def search(
    folder: PathLike,
    query: object,
    model: ModelLike = None,
    *,
    minus: object = (),
    where: str | Sequence[str] = (),
    top: int = 10,
    captions: float | None = None,
    exact: bool = False,
    at_least: float | None = None,
) -> Results[Found]:
    """Find the entries of an index that are nearest to words, pictures, or both.

    Args:
        folder: of the index.
        query: words ("a red car", "2:at night"), the path of a picture, a picture, or a list of these, added up.
        model: None: that of the index.
        minus: words or pictures to move away from.
        where: conditions on metadata: "label=cat", "year>=1990".
        top: answers.
        captions: share of the captions in the score, 0 to 1.
        exact: look at every entry, however many.
        at_least: leave out answers below the cut above which this share is expected to be right, such as 0.8, and most
            queries for absent things have none; for an index of ``lite``, up to 0.7, or one with marked answers.

    Raises:
        UsageError: no such index, another model, or a query that cannot mean anything.
        DataError: the index is empty, or its marks allow no such cut.
    """
    if top < 1:
        raise UsageError(f"top must be at least 1, got {top}.")
    folder = Path(folder)
    with Index(folder) as opened:
        facts = dict(opened.facts)
    name, samples, frames = untrained_name(str(facts.get("backbone", "lite")))
    own = load(name, precision=cast(Precision, facts.get("precision", "fp32"))) if model is None else model_of(model)
    run = replace(own.run, decode="draft" if facts.get("decode") == "draft" else "exact")
    parts: dict[Modality, float] = {} if captions is None else {"image": 1 - captions, "text": captions}
    answer = search_task.search(
        folder, [*_terms(query, 1.0), *_terms(minus, -1.0)],
        untrained_space(samples, own, run, frames=frames or None) if samples else own, run, k=top,
        weights={m: w for m, w in parts.items() if w} or None,
        where=[where] if isinstance(where, str) else where, exact=exact or None, at_least=at_least,
    )  # fmt: skip
    return of_answer(answer, folder)


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
        shots: labelled photos a class, one number or several.
        seeds: of the draws.
        val: "coop" chooses on min(shots, 4) val photos a class, "full" on all.
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


def audit(
    photos: object,
    captions: Sequence[str] | None = None,
    model: ModelLike = None,
    *,
    image: str = "",
    text: str = "",
    clean: object = None,
    rate: float = 0.05,
    choice: Literal["threshold", "most-negative"] | None = None,
    threshold: float | None = None,
) -> Results[audits.AuditedPair]:
    """Say which captions fit their photos worse than right captions do, the worst first.

    Args:
        photos: a table with pictures and captions; or photos, see ``classify``.
        captions: one a photo, where ``photos`` is no table.
        model: a name, a model, or None for ``lite``.
        image: column of the tables with the picture.
        text: column of the tables with the caption.
        clean: right pairs of the same kind, a table as ``photos`` takes; None: photos that ship, most of clothes.
        rate: share of right captions that may stand out all the same, in (0, 1).
        choice: rank by the words instead: those below ``threshold`` are wrong, or the most negative of each caption.
        threshold: rank by the words: those below this attribution are wrong; None: the paper's -5e-5.

    Raises:
        UsageError, DataError: there are no captions, or not one a photo; too few right pairs for the rate.
        MissingHook: the model lacks what the scorer needs.
    """

    def opened(given: object) -> Table[Any]:
        if isinstance(given, (str, os.PathLike)):
            return open_path(given, need="captions", image=image, text=text).whole()
        return as_table(given)

    own = model_of(model)
    if captions is not None:
        items = as_samples(photos)
        table: Table[Any] = Table(items, {"captions": Column("captions", [(c,) for c in captions])})
    else:
        table = opened(photos)
    by_words = choice is not None or threshold is not None
    auditor = audits.pair_auditor(choice or ("threshold" if by_words else "most-negative"), threshold)
    found = audits.audit_pairs(table, own, own.run, method=auditor)
    if not by_words:
        known = None if clean is None else opened(clean)
        right = audits.right_captions(own, own.run, rate, known, source="" if known is None else "clean")
        found = found.against(right)
    return of_audited(found, table.items, by_words)


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    return ClassNames.of(given).names if isinstance(given, str) and given.strip() else tuple(given)


def _numbers(given: int | Sequence[int]) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)


def _terms(query: object, sign: float) -> list[search_task.Term]:
    parts = list(query) if isinstance(query, (list, tuple)) else [query]
    if None in [p if p is None else 0 for p in parts]:
        raise UsageError('A query is words, the path of a picture, or a picture, not None: give "a red car".')
    return [
        search_task.Term.parse(os.fspath(p), sign)
        if isinstance(p, (str, os.PathLike))
        else search_task.Term("picture", sign, p)
        for p in parts
    ]


def _keys(model: Model) -> FileKeys:
    """Return remembered content keys of files: those of the model's cache folder."""
    return FileKeys(None if model.run.cache is None else model.run.cache.parent / KEYS)
