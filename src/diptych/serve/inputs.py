"""Texts and pictures of a request, and what they become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from diptych.features.unit_rows import unit_rows
from diptych.serve.model import Vectors
from diptych.serve.refusals import Refusal

LONGEST = 50_000
"""Characters of a text: far more than any tower reads, and few enough that their tokens hold up nobody."""
KINDS: tuple[Literal["image", "text"], ...] = ("image", "text")


@dataclass(frozen=True)
class Input:
    """A text or a picture of a request.

    Args:
        kind: "text" or "image".
        value: the text, or the bytes of the picture's file.
        name: of the picture, for errors.

    Raises:
        Refusal: a text that is too long, or no Unicode.
    """

    kind: Literal["text", "image"]
    value: Any = field(repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind == "text":
            check_text(self.value)


def check_text(text: str) -> None:
    """Raise Refusal where a text is too long; UnicodeEncodeError where it holds half a surrogate pair."""
    if len(text) > LONGEST:
        raise Refusal(413, f"A text has at most {LONGEST:,} characters, not {len(text):,}: send the part that counts.")
    text.encode()


@dataclass(frozen=True)
class Embedded:
    """Vectors of a request.

    Args:
        values: (N, D) float32 in the order of the inputs, as the towers give them.
        sizes: (width, height) of each input; None for texts.
    """

    values: Vectors
    sizes: tuple[tuple[int, int] | None, ...]

    @property
    def vectors(self) -> Vectors:
        """The same as rows of length 1."""
        return unit_rows(self.values)


@dataclass(frozen=True)
class Received:
    """Decoded inputs of a request as samples.

    Args:
        items: N pictures, or what a fitted space takes.
        names: for errors and answers.
        keys: hashes of their files.
    """

    items: Sequence[Any] = field(repr=False)
    names: Sequence[str]
    keys: Sequence[str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int, /) -> Any:
        return self.items[index]

    def key(self, index: int, /) -> str:
        """Return the hash of the file."""
        return self.keys[index]

    def name(self, index: int, /) -> str:
        """Return the name."""
        return self.names[index]


def parts_of(inputs: Sequence[Input], batch: int) -> Iterator[tuple[Literal["image", "text"], list[list[int]]]]:
    """Yield the parts of a request: the kind, and for each of at most ``batch`` different inputs where it stands.

    Equal inputs are encoded once, and the batches are those of the command line on the same inputs.
    """
    for kind in KINDS:
        places: dict[Any, list[int]] = {}
        for i, item in enumerate(inputs):
            if item.kind == kind:
                places.setdefault(item.value, []).append(i)
        rows = list(places.values())
        for start in range(0, len(rows), batch):
            yield kind, rows[start : start + batch]
