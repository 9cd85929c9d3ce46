"""One part of a query: words or a picture, and how much it counts."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.core import Samples, UsageError
from diptych.data.images import SUFFIXES
from diptych.tasks.search.marks import Kind

_WEIGHT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)):(.*)", re.DOTALL)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+$", re.IGNORECASE)
_SEPARATORS = (os.sep, os.altsep or os.sep)


@dataclass(frozen=True)
class Term:
    """One part of a query.

    Args:
        value: words, or the path of a picture.
        weight: how much it counts; below 0 away from it.
        photo: the picture, where it is no file, see ``data.samples.as_samples``; ``value`` then only names it.
        sample: a sample of the index's modality, as samples of one; ``value`` then only names it.

    Raises:
        UsageError: the weight is infinite or no number, so that the query has no direction.
    """

    value: str
    weight: float = 1.0
    photo: object = field(default=None, repr=False)
    sample: Samples[Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise UsageError(f"The weight of {self.value[:80]!r} must be a finite number, got {self.weight:g}.")

    @classmethod
    def parse(cls, text: str, sign: float = 1.0) -> Term:
        """Read "a dog", "photo.jpg", "~/photo.jpg", "2:golden retriever", "0.5:photo.jpg".

        Raises:
            UsageError: nothing to look for, a weight of 0, a picture that is not there, or an address.
        """
        match = _WEIGHT.fullmatch(text.strip())
        weight, value = (float(match[1]), match[2].strip()) if match else (1.0, text.strip())
        if not value or weight == 0:
            raise UsageError(
                f'A query is words or a picture, optionally with a weight such as "2:golden retriever", not {text!r}.'
            )
        if _ADDRESS.match(value):
            raise UsageError(
                f"{value} is an address, and addresses are not read here: save the picture, and give its file."
            )
        value = os.path.expanduser(value) if value.startswith("~") else value
        term = cls(value, sign * weight)
        if Path(value).suffix.lower() in SUFFIXES and not term.is_picture:
            raise UsageError(f"There is no picture {value}: check the spelling.")
        return term

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture, or names a file that is there."""
        if self.photo is not None or self.sample is not None:
            return True
        return Path(self.value).suffix.lower() in SUFFIXES and os.path.isfile(self.value)  # False for long words

    @property
    def photos(self) -> Samples[Any]:
        """The picture, or the sample in its place, as samples of one."""
        if self.sample is not None:
            return self.sample
        from diptych.data.samples import as_samples  # of pictures alone: it brings every format of data

        return as_samples([self.value if self.photo is None else self.photo])


def refuse_folders(terms: Sequence[Term]) -> None:
    """Refuse folders, where photos are looked for; in an index of clips one is a query.

    Raises:
        UsageError: a value is a path of a folder.
    """
    for term in terms:
        if any(mark in term.value for mark in _SEPARATORS) and os.path.isdir(term.value):
            raise UsageError(f"{term.value} is a folder: look for words, or for one picture of it.")


def kind_of(terms: Sequence[Term]) -> Kind:
    """Return what a query is made of; marks of answers count for queries of their own kind."""
    kinds = {term.is_picture for term in terms}
    return "both" if len(kinds) > 1 else "image" if True in kinds else "text"


def only_words(terms: Sequence[Term]) -> str:
    """Return the words that a query consists of; "" where it has several parts, pictures, or leads away from them."""
    return terms[0].value if len(terms) == 1 and not terms[0].is_picture and terms[0].weight > 0 else ""
