"""What the search page shows: answers with their score, what it is made of, and how likely each is right."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.data.words.english import not_english
from diptych.metrics.cut import STRATA
from diptych.search_index.described import Vectors
from diptych.search_index.nearest import nearest
from diptych.search_index.opening import AnyIndex
from diptych.search_index.rows import Hit, Modality
from diptych.serve.inputs import Input
from diptych.serve.pages.browsing import browsed, highest
from diptych.serve.pages.marked import as_model, marked_head
from diptych.serve.pages.state import MOST, State
from diptych.serve.pages.tiles import Contents, Slider, Tile, facets, version_of
from diptych.serve.refusals import Refusal
from diptych.serve.verbs.search import Search, ServedIndex
from diptych.tasks.search.ask import Answer, ask
from diptych.tasks.search.calibration import calibration
from diptych.tasks.search.marks import PEOPLE, Mark, add_marks, read_marks, weights_key
from diptych.tasks.search.query import combined
from diptych.tasks.search.term import Term, kind_of, only_words
from diptych.verbs.search import weights_of

BOTH = "Mark a right and a wrong answer first: the head learns from both."


@dataclass(frozen=True)
class Question:
    """The query of a page.

    Args:
        values: (n, D) unit vectors of the parts.
        query: (D,) unit vector of their weighted sum.
    """

    terms: tuple[Term, ...]
    values: Vectors = field(repr=False)
    query: Vectors = field(repr=False)

    @property
    def text(self) -> str:
        """The query in one line, under which its marks are kept."""
        return text_of(self.terms)


class Finding:
    """Searches of the page."""

    def __init__(self, search: Search) -> None:
        self.search = search

    async def read_query(self, request: Any, index: ServedIndex, state: State) -> Question:
        """Return the vectors of a query: words, the picture of the address, and an entry to look for more of.

        Raises:
            Refusal: nothing is asked, or the address is damaged.
            UsageError: the parts cancel out.
        """
        words = state.words()
        terms = [Term(text, weight) for text, weight in words]
        rows: list[NDArray[np.float32]] = []
        if words:
            embedded = await self.search.service.embed(request, index.model, [Input("text", text) for text, _ in words])
            rows += list(embedded.vectors)
        if (vector := state.vector(index.model.dim)) is not None:
            terms.append(Term(f"picture {state.picture[:12]}", state.weight or 1.0, photo=True))
            rows.append(vector)
        if state.like is not None:
            name, near = await self.search.service.thread(_entry_vector, index, state.like)
            terms.append(Term(name, state.weight or 1.0, photo=True))
            rows.append(near)
        if not rows:
            raise Refusal(400, "Nothing to look for: give words, a picture, or both.")
        values = np.stack(rows)
        return Question(tuple(terms), values, combined(values, [t.weight for t in terms]))

    async def answers(self, request: Any, state: State) -> Contents:
        """Return what a page shows."""
        index = self.search.index(state.index)
        if state.empty:
            return await self.search.service.thread(_nothing, index, state)
        question = await self.read_query(request, index, state)
        return await self.search.service.thread(_answers, index, question, state)

    async def head(self, request: Any, state: State) -> dict[str, bytes]:
        """Return the model folder of the head that is fitted to the marks of a query: name -> content.

        Raises:
            Refusal: nothing is asked, or the query has no right or no wrong mark.
        """
        index = self.search.index(state.index)
        question = await self.read_query(request, index, state)
        return await self.search.service.thread(_model, index, question, state)

    async def chosen(self, request: Any, state: State, numbers: Sequence[int]) -> Contents:
        """Return the answers with these numbers, as far down as the page goes, without a cut."""
        whole = await self.answers(request, replace(state, at_least=0.0, skip=0, top=MOST))
        return whole.chosen(numbers)

    async def mark(self, request: Any, state: State, chosen: Mapping[int, str], right: bool | None) -> tuple[int, int]:
        """Write what a person says about answers into the index, and return the (right, wrong) marks of the query.

        Args:
            request: of Starlette.
            state: of the page.
            chosen: number of an entry -> its version on the page, see ``version_of``; "" is any.
            right: None takes a mark back.

        Raises:
            Refusal: no such entry, another picture than on the page, or the index cannot be written.
        """
        index = self.search.index(state.index)
        question = await self.read_query(request, index, state)
        marks = await self.search.service.thread(_marks, index, question, state, chosen, right)
        try:
            await self.search.service.thread(add_marks, index.folder, marks)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            raise Refusal(
                409, f"The index {index.name} cannot be written ({error.strerror}), so that it takes no marks: serve a "
                "copy of it from another folder.", "read_only",
            ) from None  # fmt: skip
        return await self.search.service.thread(_counts, index, question, state)


def text_of(terms: Sequence[Term]) -> str:
    """Return the parts of a query in one line."""
    return "; ".join(t.value if t.weight == 1 else f"{t.weight:g}:{t.value}" for t in terms)


def _weights(index: AnyIndex, state: State) -> Mapping[Modality, float]:
    return weights_of(state.captions) or ({"image": 1.0} if len(index.vectors("image")) else {"text": 1.0})


def _nothing(index: ServedIndex, state: State) -> Contents:
    with index.opened() as opened:
        return browsed(opened, state)


def _entry_vector(index: ServedIndex, number: int) -> tuple[str, Vectors]:
    with index.opened() as opened:
        entries = opened.entries([number])
        slot = int(opened.slots([number])[0])
        if number not in entries or slot < 0:
            raise Refusal(404, f"The index {index.name} has no picture {number}.", "entry_not_found")
        return entries[number].name, np.asarray(opened.vectors("image")[slot])


def _answers(index: ServedIndex, question: Question, state: State) -> Contents:
    with index.opened() as opened:
        marks, weights = read_marks(index.folder), _weights(opened, state)
        key = weights_key(weights)
        rated = _marks_of_people(marks, question, key)
        head = marked_head(opened, rated) if state.head else None
        query = question.query if head is None else head.direction
        remark = BOTH if state.head and head is None else ""

        depth = min(state.skip + state.top, MOST)

        def ask_index(level: float | None) -> Answer:
            return ask(
                opened, query, question.terms, index.backbone, k=depth, weights=weights, where=state.conditions(),
                at_least=level, cut_depth=MOST,  # one cut for all pages of a search
            )  # fmt: skip

        try:
            answer = ask_index(state.at_least or None)
        except DataError as error:
            if not state.at_least:
                raise
            remark, answer = str(error), ask_index(None)
        words = [term.value for term in question.terms if not term.is_picture]
        foreign = not_english(words, index.backbone, index.model.model.spec.languages)
        remark = " ".join(filter(None, (remark, foreign, answer.left_out)))
        names = [f.entry.name for f in answer.results]
        numbers = opened.numbers(names)
        slots = opened.slots([numbers[name] for name in names])
        shares: Sequence[float | None] = [None] * len(names)
        try:
            fitted = calibration(opened, kind_of(question.terms), weights).of_query(only_words(question.terms))
            known = fitted.at(state.at_least)[0].marks if answer.cut is not None else fitted.marks
            if state.at_least and not names and (nearest_one := ask_index(None).results):
                (share,) = known.probabilities(np.array([nearest_one[0].score])).tolist()
                remark = f"{remark} The nearest picture is {100 * share:.0f} % likely right.".strip()
            right = known.probabilities(np.array([f.score for f in answer.results]))
            shares = [share if rank < known.depth else None for rank, share in enumerate(right.tolist())]
            slider = Slider(highest(known))
        except DataError as error:
            slider = Slider(reason=str(error))
        rows = list(zip(answer.results, slots, shares, strict=True))[state.skip :]
        good = sum(bool(r) for r in rated.values())
        return Contents(
            tuple(
                _tile(opened, question, numbers[f.entry.name], int(slot), f, share, rated.get(f.entry.name))
                for f, slot, share in rows
            ),
            answer, remark, "" if answer.cut is None else _promise(answer), (good, len(rated) - good), opened.columns(),
            len(opened), facets(opened, state), len(names) == depth < MOST, slider,
        )  # fmt: skip


def _marks_of_people(marks: Sequence[Mark], question: Question, key: str) -> dict[str, bool | None]:
    """Return name of an entry -> what people said of it as an answer to this query."""
    return {m.path: m.right for m in marks if m.source == PEOPLE and m.query == question.text and m.weights == key}


def _model(index: ServedIndex, question: Question, state: State) -> dict[str, bytes]:
    with index.opened() as opened:
        rated = _marks_of_people(read_marks(index.folder), question, weights_key(_weights(opened, state)))
        head = marked_head(opened, rated)
        if head is None:
            raise Refusal(400, BOTH)
        return as_model(head, question.text, index.model, opened)


def _promise(answer: Answer) -> str:
    assert answer.cut is not None
    cut = answer.cut.cut
    return (
        f"Above this cut {100 * cut.share:.0f} % of the answers are expected to be right ({100 * cut.low:.0f} to "
        f"{100 * cut.high:.0f} %; {answer.cut.basis}). {answer.cut.absent}"
    ).rstrip()


def _tile(
    index: AnyIndex,
    question: Question,
    number: int,
    slot: int,
    result: Hit,
    share: float | None,
    marked: bool | None,
) -> Tile:
    reasons: list[tuple[str, float]] = []
    if slot >= 0:
        weights = np.asarray([t.weight for t in question.terms]) / max(abs(t.weight) for t in question.terms)
        norm = float(np.linalg.norm(weights @ question.values))
        cosines = question.values @ index.vectors("image")[slot]
        reasons = [
            (Path(t.value).name if t.is_picture else t.value, float(w * c / norm))
            for t, w, c in zip(question.terms, weights, cosines, strict=True)
        ]
    plain = Tile.of(number, result.entry)
    return replace(plain, score=result.score, reasons=tuple(reasons), right=share, marked=marked)


def _counts(index: ServedIndex, question: Question, state: State) -> tuple[int, int]:
    with index.opened() as opened:
        rated = _marks_of_people(read_marks(index.folder), question, weights_key(_weights(opened, state)))
    good = sum(bool(right) for right in rated.values())
    return good, len(rated) - good


def _marks(
    index: ServedIndex, question: Question, state: State, chosen: Mapping[int, str], right: bool | None
) -> list[Mark]:
    numbers = list(chosen)
    with index.opened() as opened:
        entries, slots = opened.entries(numbers), opened.slots(numbers)
        lacking = next((n for n, slot in zip(numbers, slots, strict=True) if n not in entries or slot < 0), None)
        if lacking is not None:
            raise Refusal(404, f"The index {index.name} has no picture {lacking}.", "entry_not_found")
        if any(version and version != version_of(entries[n]) for n, version in chosen.items()):
            raise Refusal(
                409, f"The index {index.name} has changed since this page was opened: load the page again.",
                "index_changed",
            )  # fmt: skip
        weights = _weights(opened, state)
        key, first = weights_key(weights), nearest(opened, question.query, STRATA[-1], weights)
        ranks = {f.entry.name: rank for rank, f in enumerate(first, 1)}
        texts = {int(row[1]): int(row[2]) for row in opened.located("image", slots.tolist())}
        marks = []
        for number, slot in zip(numbers, slots.tolist(), strict=True):
            score = weights.get("image", 0.0) * float(opened.vectors("image")[slot] @ question.query)
            if texts[slot] >= 0 and weights.get("text"):
                score += weights["text"] * float(opened.vectors("text")[texts[slot]] @ question.query)
            name = entries[number].name
            rank = ranks.get(name, STRATA[-1] + 1)
            marks.append(Mark(question.text, kind_of(question.terms), key, name, score, right, rank=rank))
        return marks
