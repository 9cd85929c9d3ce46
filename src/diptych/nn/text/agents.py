"""A chain of writers that describe a picture, correct the description, judge it and shorten it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from diptych.core import Ask, DataError, MissingPart, Text, Writer

AGENTS = ("describe", "revise", "judge", "shorten")
"""Names of the writers in the order in which they are asked; the first is needed."""


@dataclass(frozen=True)
class Requests:
    """What the agents are asked; "{text}" is the text so far, and "{words}" the number of words.

    Args:
        describe, revise, judge, shorten: one each.
        words: largest number of words of a short text, >= 1.
    """

    describe: str
    revise: str
    judge: str
    shorten: str
    words: int


@dataclass(frozen=True)
class Written:
    """What the chain made of one picture.

    Args:
        texts: latest first; () where the first agent gave none.
        refused: why the pair is not kept; "" where it is.
        asked: whether the refusal is the judge's own answer.
    """

    texts: tuple[Text, ...] = ()
    refused: str = ""
    asked: bool = False


def write_chain(
    agents: Mapping[str, Writer], pictures: Sequence[tuple[str, Image.Image]], requests: Requests
) -> list[Written]:
    """Return what the agents write about each picture.

    All see the picture but "shorten". An agent that is absent is left out, and an agent that gives no text leaves the
    text as it is. The judge answers yes or no first; a text whose judge says neither is refused.

    Raises:
        MissingPart: no agent describes.
        DataError: a writer returns another number of lists than there were requests.
    """
    if "describe" not in agents:
        raise MissingPart("Nobody describes the pictures: give a writer named 'describe'.")
    done = [Written() for _ in pictures]
    for step in (name for name in AGENTS if name in agents):
        places = [i for i, w in enumerate(done) if not w.refused and (w.texts or step == "describe")]
        answers = _asked(agents[step], step, [(*pictures[i], done[i].texts) for i in places], requests)
        for i, answer in zip(places, answers, strict=True):
            done[i] = _after(step, done[i], answer)
    return done


def _asked(
    writer: Writer, step: str, about: Sequence[tuple[str, Image.Image, tuple[Text, ...]]], requests: Requests
) -> list[Text | None]:
    template: str = getattr(requests, step)
    asks = [
        Ask(
            template.replace("{words}", str(requests.words)).replace("{text}", texts[0].value if texts else ""),
            about=name,
            image=None if step == "shorten" else image,
        )
        for name, image, texts in about
    ]
    answers = writer.write(asks)
    if len(answers) != len(asks):
        raise DataError(f"The writer {step!r} answered {len(answers)} of {len(asks)} requests: it answers each once.")
    return [answer[0] if answer and answer[0].value.strip() else None for answer in answers]


def _after(step: str, so_far: Written, answer: Text | None) -> Written:
    if step == "judge":
        first = "" if answer is None else answer.value.strip().lower()
        if first.startswith("yes"):
            return so_far
        if first.startswith("no"):
            return replace(so_far, refused="the judge says no", asked=True)
        return replace(so_far, refused=f"the judge says neither yes nor no: {first[:60]!r}")
    if answer is None:
        return so_far if so_far.texts else replace(so_far, refused="nobody described it")
    return replace(so_far, texts=(answer, *so_far.texts))
