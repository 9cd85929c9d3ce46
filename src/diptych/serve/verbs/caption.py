"""``POST /v1/caption``: the sentences of a pool that fit each picture best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request

from diptych import catalog
from diptych.core import Captioner, Evidence, FittedCaptioner, Kit, Text, TextPool
from diptych.data.memory import InMemory
from diptych.serve.answers import CaptionAnswer
from diptych.serve.model import ServedModel
from diptych.serve.names import Recent
from diptych.serve.refusals import Refusal, Strict
from diptych.serve.service import Service
from diptych.serve.verbs.classify import images_of
from diptych.tasks.caption import captioned
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import DEFAULTS

MOST = 10_000
"""Sentences of one request."""


@dataclass(frozen=True)
class CaptionRequest(Strict):
    """The body of a request for captions.

    Args:
        images: pictures, as data URIs or base64.
        texts: sentences to choose from; null: those that the server was started with.
        model: name or alias of a served model.
        n: captions a picture, at most.
    """

    images: list[str]
    texts: list[str] | None = None
    model: str = ""
    n: int = 1


class Caption:
    """Captions of pictures.

    Args:
        sentences: of the server; () where it has none.
    """

    def __init__(self, service: Service, sentences: Sequence[str]) -> None:
        self.service, self.sentences = service, tuple(sentences)
        self._fitted: Recent[FittedCaptioner] = Recent(4)

    async def answer(self, request: Any, given: CaptionRequest) -> dict[str, Any]:
        """Answer a request.

        Raises:
            Refusal: there are no sentences, or too many.
        """
        texts = tuple(given.texts) if given.texts else self.sentences
        if not texts or len(given.texts or ()) > MOST or given.n < 1:
            raise Refusal(400, f"Give 1 to {MOST:,} texts to choose from, or start the server with --sentences FILE.")
        model, pictures = self.service.model(given.model), await self.service.pictures(images_of(given.images))
        samples = InMemory(pictures, [f"images {i}" for i in range(len(pictures))])

        def work() -> dict[str, Any]:
            fitted = self._fitted.made((model.name, texts), lambda: _fitted(model, texts))
            with with_store(model.calls) as run:
                return captioned(fitted, samples, model.model, run, given.n).as_dict()

        return await self.service.call(request, "caption", work)

    def router(self) -> APIRouter:
        """Return the routes."""

        async def post(request: Request, given: CaptionRequest) -> dict[str, Any]:
            """Return captions, as ``diptych caption --json`` prints them."""
            return await self.answer(request, given)

        routes = APIRouter(tags=["diptych"])
        routes.add_api_route("/v1/caption", post, methods=["POST"], responses={200: {"model": CaptionAnswer}})
        return routes


def _fitted(model: ServedModel, texts: tuple[str, ...]) -> FittedCaptioner:
    evidence = Evidence[Any](texts=TextPool({"": tuple(Text(t) for t in texts)}))
    return catalog.find(DEFAULTS["caption"], Captioner)().fit(Kit.of(model.model), evidence, model.calls)
