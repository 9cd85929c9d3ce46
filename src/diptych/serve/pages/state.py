"""What a page shows, as its address says it: a link that is sent to someone shows the same."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import numpy as np

from diptych.search_index.described import Vectors
from diptych.serve.refusals import Refusal

TOP, MOST = 24, 1000
"""Answers of a page, and the rank down to which pages go."""


@dataclass(frozen=True)
class State:
    """A search as its address holds it.

    Args:
        index: name of the index; "" is the first.
        q: words to look for; parts are separated by ";", each maybe with a weight: "2:a dog; at night".
        minus: words to move away from, in the same form.
        where: conditions on metadata, separated by ";".
        like: number of an entry to look for more of; None: none.
        picture: a picture to look for, as the unit vector that it was embedded to; "" is none. The picture itself is
            not kept.
        weight: how much the picture counts beside the words.
        at_least: expected share of right answers; 0 cuts nothing.
        captions: share of the captions in the score; None: the index decides.
        top: answers, at most.
        head: whether the marks of this query rank the answers.
        skip: answers before the first one of this page.
    """

    index: str = ""
    q: str = ""
    minus: str = ""
    where: str = ""
    like: int | None = None
    picture: str = ""
    weight: float = 1.0
    at_least: float = 0.0
    captions: float | None = None
    top: int = TOP
    head: bool = False
    skip: int = 0

    @classmethod
    def read(cls, given: Mapping[str, str]) -> State:
        """Read the parameters of an address.

        Raises:
            Refusal: a number that is none, or out of its range.
        """
        like, captions = given.get("like", ""), given.get("captions", "")
        return cls(
            index=given.get("index", "")[:200],
            q=given.get("q", "").strip()[:2000],
            minus=given.get("minus", "").strip()[:2000],
            where=given.get("where", "").strip()[:2000],
            like=_whole(like, "like", 2**62) if like else None,
            picture=given.get("picture", ""),
            weight=_number(given.get("weight", "") or "1", "weight", -100, 100),
            at_least=_number(given.get("at_least", "") or "0", "at_least", 0, 0.999),
            captions=_number(captions, "captions", 0, 1) if captions else None,
            top=int(_number(given.get("top", "") or str(TOP), "top", 1, MOST)),
            head=given.get("head", "") == "1",
            skip=int(_number(given.get("skip", "") or "0", "skip", 0, MOST)),
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is looked for."""
        return not (self.q or self.picture or self.like is not None)

    def address(self, path: str = "/", **changes: object) -> str:
        """Return the address of this search, or of the first page of one with changes; parameters with their default
        are left out.
        """
        state, plain = replace(self, **({"skip": 0} | changes if changes else {})), State()  # type: ignore[arg-type]
        shown = {
            name: "1" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
            for name, value in vars(state).items()
            if value != getattr(plain, name)
        }
        return path + (f"?{urlencode(shown)}" if shown else "")

    @property
    def options(self) -> int:
        """How many of the options are used that stand beside the words."""
        return sum((bool(self.minus), bool(self.where), self.top != TOP))

    def words(self) -> list[tuple[str, float]]:
        """Return (words, weight) of all parts, those of ``minus`` with negative weights."""
        return [*_parts(self.q, 1.0), *_parts(self.minus, -1.0)]

    def conditions(self) -> list[str]:
        """Return the conditions on metadata."""
        return [part.strip() for part in self.where.split(";") if part.strip()]

    def vector(self, dim: int) -> Vectors | None:
        """Return the (D,) vector of the picture; None without one.

        Raises:
            Refusal: it is no vector of this width.
        """
        return unpacked(self.picture, dim) if self.picture else None


def packed(vector: Vectors) -> str:
    """Return a vector as it stands in an address: a byte a number, in base64; wide ones would not fit else."""
    whole = np.rint(127 * vector / max(float(np.abs(vector).max()), 1e-12))
    return base64.urlsafe_b64encode(whole.astype(np.int8).tobytes()).decode().rstrip("=")


def unpacked(text: str, dim: int) -> Vectors:
    """Return the (D,) unit vector of ``packed``.

    Raises:
        Refusal: it is none of this width.
    """
    try:
        values = np.frombuffer(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), np.int8).astype(np.float32)
    except (binascii.Error, ValueError):
        values = np.zeros(0, np.float32)
    norm = float(np.linalg.norm(values))
    if len(values) != dim or norm == 0:
        raise Refusal(400, "The picture of this address is damaged, or of another model: choose it again.")
    return values / np.float32(norm)


def entry_numbers(texts: Sequence[str], most: int = MOST) -> list[int]:
    """Return numbers of entries, each once.

    Raises:
        Refusal: one is no number, or they are more than ``most``.
    """
    return list(entry_versions(texts, most))


def entry_versions(texts: Sequence[str], most: int = MOST) -> dict[int, str]:
    """Return number of an entry -> its version, of texts such as "7.1f0c", or "" where "7" names none.

    Raises:
        Refusal: one is no number, or they are more than ``most``.

    Example:
        >>> entry_versions(["7.1f0c", "8"])
        {7: '1f0c', 8: ''}
    """
    parts = [text.partition(".") for text in texts]
    if len(texts) > most or not all(number.isdecimal() and len(number) < 19 for number, _, _ in parts):
        raise Refusal(400, f"entry must be the number of an entry, at most {most} times.")
    return {int(number): version for number, _, version in parts}


def _parts(text: str, sign: float) -> Sequence[tuple[str, float]]:
    parts = []
    for part in text.split(";"):
        head, colon, tail = part.strip().partition(":")
        try:
            weight = float(head) if colon and tail.strip() else None
        except ValueError:
            weight = None
        words = part.strip() if weight is None else tail.strip()
        if words and (weight is None or (math.isfinite(weight) and weight != 0)):
            parts.append((words, sign * (1.0 if weight is None else weight)))
    return parts


def _whole(text: str, name: str, high: int) -> int:
    """Return a whole number as it is: those of entries in a database have more digits than a float holds."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= high):
        raise Refusal(400, f"{name} must be a number in 0 to {high:g}, not {text[:40]!r}.")
    return int(text)


def _number(text: str, name: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise Refusal(400, f"{name} must be a number in {low:g} to {high:g}, not {text[:40]!r}.")
    return value
