"""Turns the files that a user names into the evidence that a system's card asks for."""

from __future__ import annotations

import os
from typing import Any

from diptych.core import Card, Evidence, Table, Text, TextPool, UsageError
from diptych.core.wording import columns_there
from diptych.data.captions import read_sentences
from diptych.data.format import Need
from diptych.data.keys import FileKeys
from diptych.data.load import open_data
from diptych.data.samples import as_table

FIELDS = ("train", "texts", "unlabelled")
"""Fields of Evidence that photos with captions, or sentences, can fill."""


def check_evidence(card: Card, *, like: object = None, texts: object = None) -> None:
    """Refuse what a captioner, an editor or a rewriter cannot learn from, before anything is read.

    Raises:
        UsageError: the system reads none of what was given, or needs what was not.
    """
    reads, given = _reads(card), [v is not None for v in (like, texts)]
    if any(given) and not reads:
        raise UsageError(f"{card.name} learns from no data: leave {{like}} and {{texts}} out.")
    if texts is not None and "texts" not in reads:
        raise UsageError(f"{card.name} learns from no sentences alone: give {{like}}, photos with captions.")
    there = {"texts"} if texts is not None else set()
    missing = [f for f in card.needs.evidence if f in FIELDS and f not in (reads if like is not None else there)]
    if missing == ["texts"]:
        raise UsageError(
            "A captioner learns from sentences: give {texts}, one per line or a table with caption columns, or {like}, "
            "photos with captions."
        )
    if missing:
        kind = " with captions" if "train" in missing else ""
        raise UsageError(f"{card.name} learns from photos{kind}: give {{like}}, a table or folder of them.")


def evidence_for(
    card: Card, *, like: object = None, texts: TextPool | str | None = None, keys: FileKeys | None = None
) -> Evidence[Any]:
    """Return the evidence of a captioner, an editor or a rewriter.

    Args:
        card: says what the system reads.
        like: photos to learn from: a table with captions (and perhaps a column "user"), or photos without, for a system
            that reads no captions; or the path of them.
        texts: sentences, or the path of a .txt with one per line, or of a table with caption columns.
        keys: cache of content keys.

    Raises:
        UsageError: the system reads none of what was given, or needs what was not.
        DataError: a file is damaged, or a photo has no caption.
    """
    check_evidence(card, like=like, texts=texts)
    reads = _reads(card)
    filled: dict[str, Any] = {}
    if like is not None:
        needed: Need = "captions" if reads & {"train", "texts"} else "photos"
        table = table_of(like, needed, keys)
        if "train" in reads:
            filled["train"] = table
        if "unlabelled" in reads:
            filled["unlabelled"] = table.items
        if "texts" in reads:
            filled["texts"] = captions_of(table)
    if texts is not None:
        filled["texts"] = texts if isinstance(texts, TextPool) else read_sentences(texts)
    return Evidence(**filled)


def _reads(card: Card) -> set[str]:
    return {f for f in (*card.needs.evidence, *card.needs.optional) if f in FIELDS}


def captions_of(table: Table[Any]) -> TextPool:
    """Return the captions of photos as sentences, each once."""
    sentences = dict.fromkeys(str(t) for of_photo in table.columns["captions"].values for t in of_photo)
    return TextPool({"": tuple(Text(t) for t in sentences)})


def table_of(like: object, need: Need, keys: FileKeys | None = None) -> Table[Any]:
    """Return photos to learn from, opened where they are a path.

    Raises:
        UsageError: captions are needed, and there are none.
    """
    if isinstance(like, (str, os.PathLike)):
        return open_data(os.fspath(like), keys, need=need).whole()
    table = like if isinstance(like, Table) else as_table(like, keys)
    if need == "captions" and "captions" not in table.columns:
        raise UsageError(
            f"These photos have no column of captions, only {columns_there(table.columns)}: give a table with a column "
            f"'captions'."
        )
    return table
