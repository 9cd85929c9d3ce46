"""String matching links records whose texts have similar letters; pictures are not used.

    levenshtein(s, t) = 1 - edits(s, t) / max(|s|, |t|)
    jaccard(s, t)     = |G(s) and G(t)| / |G(s) or G(t)|

s, t: two texts, in small letters;  |s|: number of characters
edits(s, t): least number of characters to insert, delete or replace to get from s to t
G(s): the set of n-grams of characters of s

Both similarities are in [0, 1].
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diptych.core import Evidence, FittedRetriever, Kit, MissingEvidence, Retriever, Run, Samples
from diptych.core.errors import need_extra
from diptych.core.ranges import at_least, check, one_of
from diptych.data.records.records import Records
from diptych.metrics.retrieval import chosen_threshold
from diptych.metrics.string_similarity import jaccard, levenshtein

Measure = Literal["levenshtein", "jaccard"]
"""Similarity of two texts."""


def tidy(text: str | None) -> str:
    """Return a text in Unicode's compatibility form (NFKC), in small letters and with single spaces; "" for None."""
    return " ".join(unicodedata.normalize("NFKC", text or "").casefold().split())


@dataclass(frozen=True)
class StringMatching(Retriever):
    """Link records whose texts have similar letters.

    Use it as the baseline of record linkage: it needs no model. Jaccard suits long texts with moved parts, Levenshtein
    short texts with wrong letters.

    Args:
        measure: "levenshtein" (default) or "jaccard".
        n: letters of a gram, >= 1; 3 (ours). Levenshtein does not use it.

    Raises:
        UsageError: the measure is unknown, or n is below 1.

    Source: Arora et al. 2023, section 5 (their string baselines).

    Example:
        >>> jaccard(["colour"], ["color", "paint"], n=2).tolist()
        [[0.5, 0.0]]
        >>> tidy("  Ｔｏｋｙｏ   Ltd.")
        'tokyo ltd.'
    """

    measure: Measure = "levenshtein"
    n: int = 3

    def __post_init__(self) -> None:
        check(self, one_of("levenshtein", "jaccard"), "measure")
        check(self, at_least(1), "n")

    def check_extras(self, *, learns: bool = True) -> None:
        """Refuse to begin without rapidfuzz, which the edit distance needs."""
        if self.measure == "levenshtein":
            need_extra("index", self.card.name, "rapidfuzz")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedStringMatching:
        """Choose the threshold on ``evidence.val`` if it is given; nothing is trained.

        Raises:
            MissingExtra: rapidfuzz is not installed, and the measure is "levenshtein".
        """
        fitted = FittedStringMatching(self.measure, self.n, None)
        if evidence.val is None:
            return fitted
        scores = fitted.against(evidence.val.items, run)(evidence.val.items).numpy()
        side = evidence.val.columns.get("group")
        entities = np.asarray(evidence.val.columns["entity"].values)
        return replace(
            fitted, threshold=chosen_threshold(scores, entities, None if side is None else np.asarray(side.values))
        )


@dataclass(frozen=True)
class FittedStringMatching(FittedRetriever):
    """Compares records by their texts.

    Args:
        measure, n: the settings of the method.
        threshold: least similarity of two records that match; None: there was no val to choose it on.
    """

    measure: Measure
    n: int
    threshold: float | None

    def against(self, gallery: Samples[Any], run: Run) -> Callable[[Samples[Any]], Tensor]:
        """Return a function from n records to their (n, M) similarities to the M records of the gallery.

        Raises:
            MissingEvidence: no record of the gallery has a text; the function raises it where no query has one.
        """
        right = some_texts(gallery, "to be found")

        def score(queries: Samples[Any]) -> Tensor:
            left = some_texts(queries, "asked for")
            return torch.from_numpy(
                levenshtein(left, right) if self.measure == "levenshtein" else jaccard(left, right, self.n)
            )

        return score


def texts_of(records: Samples[Any]) -> list[str]:
    """Return the tidied texts of records; "" for a record without a text."""
    return [
        tidy(t)
        for t in (records.texts if isinstance(records, Records) else [records[i].text for i in range(len(records))])
    ]


def some_texts(records: Samples[Any], role: str) -> list[str]:
    """Return ``texts_of`` records of which one at least has a text.

    Raises:
        MissingEvidence: none has a text, so that all similarities would be 0.
    """
    texts = texts_of(records)
    if texts and not any(texts):
        raise MissingEvidence(
            f"String matching compares texts, and none of the {len(texts)} records {role} has one: give texts, or take "
            f"a retriever of pictures, such as clippings:mean."
        )
    return texts
