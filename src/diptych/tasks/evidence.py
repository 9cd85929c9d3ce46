"""Turns the files that a user names into the evidence that a system's card asks for."""

from __future__ import annotations

from typing import Any

from diptych.core import Card, Evidence, Text, TextPool, UsageError
from diptych.data.captions import read_sentences
from diptych.data.keys import FileKeys
from diptych.data.load import open_data

FIELDS = ("train", "texts", "unlabelled")
"""Fields of Evidence that photos with captions, or sentences, can fill."""


def evidence_for(
    card: Card, *, like: str | None = None, texts: str | None = None, keys: FileKeys | None = None
) -> Evidence[Any]:
    """Return the evidence of a captioner or an editor.

    Args:
        card: says what the system reads.
        like: photos to learn from: a table with captions (and perhaps a column "user"), or photos without, for a system
            that reads no captions.
        texts: sentences: a .txt with one a line, or a table with caption columns.
        keys: cache of content keys.

    Raises:
        UsageError: the system reads none of what was given, or needs what was not.
        DataError: a file is damaged, or a photo has no caption.
    """
    needs = card.needs
    reads = {f for f in (*needs.evidence, *needs.optional) if f in FIELDS}
    if (like or texts) and not reads:
        raise UsageError(f"{card.name} learns from nothing that was given: leave --like and --texts out.")
    if texts and "texts" not in reads:
        raise UsageError(f"{card.name} learns from no sentences alone: give --like, photos with captions.")
    found: dict[str, Any] = {}
    if like:
        told = bool(reads & {"train", "texts"})
        table = open_data(like, keys, need="captions" if told else "photos").whole()
        if "train" in reads:
            found["train"] = table
        if "unlabelled" in reads:
            found["unlabelled"] = table.items
        if "texts" in reads:
            said = dict.fromkeys(str(t) for own in table.columns["captions"].values for t in own)
            found["texts"] = TextPool({"": tuple(Text(t) for t in said)})
    if texts:
        found["texts"] = read_sentences(texts)
    missing = [f for f in needs.evidence if f in FIELDS and f not in found]
    if missing == ["texts"]:
        raise UsageError(
            "A captioner learns from sentences: give --texts, a .txt with one a line or a table with caption columns, "
            "or --like, photos with captions."
        )
    if missing:
        kind = " with captions" if "train" in missing else ""
        raise UsageError(f"{card.name} learns from photos{kind}: give --like, a table or folder of them.")
    return Evidence(**found)
