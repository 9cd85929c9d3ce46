"""``POST /v1/search``: the entries of an index nearest to words, pictures, or both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from diptych.core import DataError, DiptychError, UsageError
from diptych.search_index.described import Vectors
from diptych.search_index.opening import AnyIndex, holds_index, index_at
from diptych.serve.answers import SearchAnswer
from diptych.serve.declared import body_of
from diptych.serve.inputs import Input
from diptych.serve.model import ServedModel
from diptych.serve.numbers import Number
from diptych.serve.refusals import Refusal, Strict
from diptych.serve.service import Service
from diptych.serve.uploads import is_picture, picture_bytes
from diptych.tasks.search.ask import Answer, ask
from diptych.tasks.search.index import fingerprint
from diptych.tasks.search.query import combined
from diptych.tasks.search.term import Term
from diptych.verbs.search import Answers, weights_of
from diptych.verbs.search import Search as Declaration

MOST = 1000
"""Answers of one request."""


@dataclass(frozen=True)
class QueryTerm(Strict):
    """One part of a query.

    Args:
        text: words; or
        image: a picture, as data URI or base64.
        weight: how much it counts; below 0 away from it.
    """

    text: str = ""
    image: str = field(default="", repr=False)
    weight: Number = 1.0


@dataclass(frozen=True)
class ServedIndex:
    """An index and the model that made it.

    Raises:
        UsageError: there is no index, or another model made it.
    """

    name: str
    folder: Path
    model: ServedModel

    def __post_init__(self) -> None:
        with index_at(self.folder) as index:
            index.expect(self._fingerprint, self.model.model.spec.name)

    @contextmanager
    def opened(self) -> Iterator[AnyIndex]:
        """Open the index as it is now: it may be gone, or another one may lie there since the server was started.

        Raises:
            Refusal: there is none, or another model made it.
        """
        try:
            index = index_at(self.folder)
        except (UsageError, DataError) as error:
            if holds_index(self.folder):
                raise
            raise Refusal(404, f"The index {self.name} is gone: {error}", "index_not_found") from None
        with index:
            if index.facts["fingerprint"] != self._fingerprint:
                raise Refusal(
                    409,
                    f"The index {self.name} was made again with {index.facts.get('backbone')}, and the server answers "
                    f"it with {self.backbone}: start the server again.",
                    "index_changed",
                )
            yield index

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model.model, self.model.run)

    @cached_property
    def backbone(self) -> str:
        """Name of the model's backbone."""
        return self.model.model.spec.name


def parts_of(query: str | Sequence[str | QueryTerm]) -> list[tuple[Input, Term]]:
    """Return the inputs of a query, and what its answer calls them.

    Raises:
        Refusal: no parts, a part without or with both words and picture, or a weight of 0.
    """
    given = [query] if isinstance(query, str) else query
    parts = [
        part if not isinstance(part, str) else QueryTerm(image=part) if is_picture(part) else QueryTerm(part)
        for part in given
    ]
    terms = []
    for i, part in enumerate(parts):
        if bool(part.text.strip()) == bool(part.image) or part.weight == 0 or not np.isfinite(part.weight):
            raise Refusal(400, f"query {i} needs a text or an image, and a weight that is not 0.")
        if part.image:
            data = picture_bytes(part.image, f"query {i}")
            terms.append((Input("image", data, f"query {i}"), Term(f"picture {i}", part.weight, photo=True)))
        else:
            terms.append((Input("text", part.text.strip()), Term(part.text.strip(), part.weight)))
    if not terms:
        raise Refusal(400, "Nothing to look for: give words, a picture, or both.")
    return terms


class Search:
    """Searches of the served indexes.

    Args:
        indexes: name -> index.
    """

    def __init__(self, service: Service, indexes: Mapping[str, ServedIndex]) -> None:
        self.service, self.indexes = service, indexes

    def index(self, name: str = "") -> ServedIndex:
        """Return an index by its name; "" is the first.

        Raises:
            Refusal: there is none.
        """
        opened = self.indexes.get(name) if name else next(iter(self.indexes.values()), None)
        if opened is None:
            known = ", ".join(self.indexes) or "none: start the server with --index FOLDER"
            raise Refusal(404, f"The index {name[:80]!r} is not served: there is {known}.", "index_not_found")
        return opened

    async def vector(self, request: Any, index: ServedIndex, parts: Sequence[tuple[Input, Term]]) -> Vectors:
        """Return the (D,) unit vector of a query."""
        embedded = await self.service.embed(request, index.model, [item for item, _ in parts])
        return combined(embedded.values, [term.weight for _, term in parts])

    async def answer(self, request: Any, given: Any) -> dict[str, Any]:
        """Answer a request.

        Raises:
            Refusal, DiptychError: no such index, or it means nothing; the sentence names fields of the body.
        """
        try:
            index = self.index(given.index)
            sent = {name: getattr(given, name) for name in given.model_fields_set}
            checked = Declaration.parsed("http", folder=index.folder, **sent).checked(sent)
            if checked.top > MOST:
                raise UsageError(f"{{top}} must be in 1 to {MOST}, got {checked.top}.")
            parts = parts_of(given.query)
            query = await self.vector(request, index, parts)
            answer = await self.service.thread(_answer, index, query, tuple(term for _, term in parts), checked)
            answers = Answers(answer, languages=index.model.model.spec.languages)
            return answers.data([], [UsageError(line).spelled(spell) for line in answers.remarks(answer.results)])
        except DiptychError as error:
            error.args = (error.spelled(spell), *error.args[1:])
            raise

    def router(self) -> APIRouter:
        """Return the route, with the body of the declaration."""

        async def search(request: Request, given: Any) -> dict[str, Any]:
            return await self.answer(request, given)

        search.__annotations__["given"] = body_of(Declaration, {"query": str | list[str | QueryTerm]}, model=False)
        search.__doc__ = f"{Declaration.__doc__} The answer is that of ``diptych search --json``."
        routes = APIRouter(tags=["diptych"])
        routes.add_api_route("/v1/search", search, methods=["POST"], responses={200: {"model": SearchAnswer}})
        return routes


def _answer(index: ServedIndex, query: Vectors, terms: tuple[Term, ...], declared: Declaration) -> Answer:
    """Return the entries nearest to a (D,) unit vector; for any thread, since the index is opened anew."""
    with index.opened() as opened:
        return ask(
            opened, query, terms, index.backbone, k=declared.top, weights=weights_of(declared.captions),
            where=declared.where, exact=declared.exact or None, at_least=declared.at_least,
        )  # fmt: skip


def spell(name: str) -> str:
    """Return how the body spells an argument."""
    return f'"{name}"'
