"""``POST /v1/VERB``, derived from the declaration of a verb: its body, its route and how its errors name fields."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model

from diptych.core import DiptychError, UsageError
from diptych.data.memory import InMemory
from diptych.serve.inputs import Input, check_text
from diptych.serve.names import MOST_NAMES, Recent
from diptych.serve.numbers import with_numbers
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service
from diptych.serve.uploads import picture_bytes
from diptych.verbs.context import Once
from diptych.verbs.declare import Verb
from diptych.verbs.kinds import MANY_PHOTOS, PHOTOS

if TYPE_CHECKING:
    from diptych.core import Backbone, Run, Samples
    from diptych.serve.model import ServedModel
    from diptych.verbs.answer import Answer

T = TypeVar("T")
FITTED = 8
"""Fitted systems that are kept for the next request of the same names."""


class RequestContext(Once):
    """Where a request runs a verb, in the batcher's thread; nothing is written, and fitted systems are kept."""

    keys = None
    out: Path | None = None

    def __init__(self, model: ServedModel, recent: Recent[Any], named: Mapping[str, Mapping[str, Any]]) -> None:
        self._model, self._recent, self._named = model, recent, named

    @property
    def backbone(self) -> str:
        """Name of the served model."""
        return self._model.name

    def model(self, other: Any = None, *, spaces: bool = False) -> Backbone:
        """Return the served model; a request names no other one beside it."""
        return self._model.model

    def chosen(self, name: str) -> Backbone:
        """Return the served model."""
        return self._model.model

    def encoders(self, *modalities: str) -> tuple[Backbone, Run]:
        """Return the served model."""
        return self.model(), self.run()

    def run(self) -> Run:
        """Return the run of requests, which caches nothing."""
        return self._model.calls

    def fitted(self, key: Hashable, fit: Callable[[], T]) -> T:
        """Return what an earlier request of the same key fitted; None as the key fits anew."""
        if key is None:
            return fit()
        value: T = self._recent.get_or_make((self._model.name, key), fit)
        return value

    def named(self, kind: str, name: str) -> Any:
        """Return what the server was started with.

        Raises:
            Refusal: there is nothing of this name.
        """
        known = self._named.get(kind, {})
        if name not in known:
            there = ", ".join(known) or "none"
            raise Refusal(404, f"The {kind} {name[:80]!r} is not served: there is {there}.", f"{kind}_not_found")
        return known[name]


def images_of(images: list[str], what: str = "images") -> list[Input]:
    """Return the pictures of a request.

    Raises:
        Refusal: one is a URL, or no base64.
    """
    return [Input("image", picture_bytes(data, f"{what} {i}"), f"{what} {i}") for i, data in enumerate(images)]


def body_of(verb: type[Verb], types: Mapping[str, Any] | None = None, *, model: bool = True) -> type[BaseModel]:
    """Return the body of a request: one field for each argument, which may be called as the command's flag is or as
    Python's argument too; unknown ones are refused.

    Args:
        verb: the declaration.
        types: argument -> its type in the body, where that of its kind is not enough.
        model: whether a request may name a served model.
    """
    values = {f.name: f.default for f in fields(verb)}
    body: dict[str, Any] = {}
    arguments = verb.arguments("http")
    taken = {a.json or name for name, a in arguments.items()}
    for name, a in arguments.items():
        default = ... if values[name] is MISSING else [] if values[name] == () else values[name]
        kind = (types or {}).get(name) or (Literal[a.shipped] if a.shipped else a.kind.http or verb.type_of(name))
        kind = with_numbers(kind)
        if default is None and a.kind.http is not None:
            kind = kind | None
        field = a.json or name
        others = {name, a.flag.strip("-").replace("-", "_")} - {"", *taken}
        alias = AliasChoices(field, *sorted(others)) if others else None
        body[field] = (kind, Field(default, description=a.help, validation_alias=alias))
    if model:
        text = "Name or alias of a served model; the first one where none is named."
        body["model"] = (str, Field("", description=text))
    name = f"{verb.__name__}Request"
    return create_model(name, __config__=ConfigDict(extra="forbid"), __doc__=verb.__doc__, **body)


class Declared:
    """The route of a verb.

    Args:
        service: models and queue.
        verb: what is answered.
        answer: form of the answer, for ``/openapi.json``.
        named: kind -> name -> what the server was started with.
        defaults: argument -> value where a request sends none, or an empty one.
    """

    def __init__(
        self, service: Service, verb: type[Verb], answer: Any, named: Mapping[str, Mapping[str, Any]] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.service, self.verb, self.form, self._named = service, verb, answer, named or {}
        self._defaults = defaults or {}
        self.body = body_of(verb)
        self._recent: Recent[Any] = Recent(FITTED)

    async def answer(self, request: Any, given: BaseModel) -> dict[str, Any]:
        """Answer a request.

        Raises:
            Refusal, DiptychError: it cannot be answered; the sentence names fields of the body.
        """
        arguments = self.verb.arguments("http")
        names = {a.json or name: name for name, a in arguments.items()}
        sent = {names[key]: getattr(given, key) for key in given.model_fields_set if key in names}
        try:
            inputs: dict[str, list[Input]] = {}
            for name, a in arguments.items():
                if sent.get(name) is not None and a.kind in (PHOTOS, MANY_PHOTOS):
                    sent[name] = inputs[name] = images_of(sent[name], a.json or name)
                elif isinstance(sent.get(name), (str, list)):
                    self._check(name, sent[name], a.most)
            defaults = {name: value for name, value in self._defaults.items() if not sent.get(name)}
            verb = self.verb.parsed("http", **{**sent, **defaults}).checked(sent)
            self._allow(verb)
            model = self.service.model(getattr(given, "model", ""))
            together = await self.shared(request, verb, inputs.get("photos", []), model)
            if together is not None:
                return together
            verb = replace(verb, **{name: await self.samples(inputs[name], verb) for name in inputs})
            context = RequestContext(model, self._recent, self._named)
            key = f"{self.verb.name}/{getattr(verb, 'method', None) or ''}"
            return await self.service.call(request, key, lambda: self.plain(verb.run(context)))
        except DiptychError as error:
            error.args = (error.spelled(self.spell), *error.args[1:])
            raise

    async def shared(
        self, request: Any, verb: Any, inputs: Sequence[Input], model: ServedModel
    ) -> dict[str, Any] | None:
        """Return an answer that shares batches with other requests; None where a verb has none."""
        return None

    async def samples(self, inputs: Sequence[Input], verb: Any) -> Samples[Any]:
        """Return the decoded pictures of an argument."""
        return InMemory(await self.service.pictures(inputs), [item.name for item in inputs])

    def _check(self, name: str, value: str | list[Any], most: int) -> None:
        if isinstance(value, list) and len(value) > (limit := most or MOST_NAMES):
            raise Refusal(400, f"{self.spell(name)} has at most {limit} entries, not {len(value)}: send fewer.")
        for text in value if most and isinstance(value, list) else ():
            check_text(str(text))
        if not most:
            check_text(value if isinstance(value, str) else " ".join(map(str, value)))

    def _allow(self, verb: Any) -> None:
        """Refuse what would let a client train here, or read a file or a hub through a setting."""
        if not hasattr(verb, "method") or verb.is_fitted():
            return
        card = verb.system().card
        learns = card.trains != "nothing" or not {*card.needs.evidence} <= {"texts"}
        if card.needs.evidence and learns and not self.service.settings.training:
            what = "sentences: it is trained" if "texts" in card.needs.evidence else "names: it learns from photos"
            raise Refusal(
                400,
                f"{card.slug} needs more than {what}, and this server trains nothing (it does where it was started "
                f"with --allow-training).",
            )
        if text := next((k for k, v in (getattr(verb, "settings", None) or {}).items() if isinstance(v, str)), ""):
            raise Refusal(400, f"The setting {text!r} is a text, and requests set numbers, true and false alone.")

    def plain(self, answer: Answer[Any]) -> dict[str, Any]:
        """Return the plain data of an answer; raises UnreadableItem where something could not be read."""
        with answer:
            items = list(answer)
        if answer.failed:
            raise answer.failed[0]
        remarks = [UsageError(line).spelled(self.spell) for line in answer.remarks(items)]
        return answer.data([{**answer.row(item), **answer.inline(item)} for item in items], remarks)

    def spell(self, name: str) -> str:
        """Return how the body spells an argument."""
        known = self.verb.arguments("http").get(name)
        return f'"{(known.json if known else "") or name}"'

    def router(self) -> APIRouter:
        """Return the route."""

        async def post(request: Request, given: Any) -> dict[str, Any]:
            return await self.answer(request, given)

        post.__annotations__["given"] = self.body
        post.__doc__ = self.verb.__doc__
        routes = APIRouter(tags=["diptych"])
        routes.add_api_route(
            f"/v1/{self.verb.name}", post, methods=["POST"], responses={200: {"model": self.form}}, name=self.verb.name
        )
        return routes
