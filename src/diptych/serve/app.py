"""The application: routes, errors and the guard around them."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from diptych import __version__
from diptych.core import DiptychError
from diptych.serve.guard import LOG, Guard
from diptych.serve.numbers import NO_NUMBER
from diptych.serve.refusals import REFUSED, UNKNOWN_FIELD, Refusal, body, of_error
from diptych.serve.service import Service

NO_JSON = "The body is no JSON: send an object with the fields that /openapi.json lists."


def application(service: Service, routers: Sequence[APIRouter]) -> Any:
    """Return the ASGI application of a service; its end stops the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="diptych", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/openapi.json", responses=dict(REFUSED),
        description="Embeddings, labels, search and regions of words and pictures.",
    )  # fmt: skip
    for routes in routers:
        app.include_router(routes)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(DiptychError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(UnicodeEncodeError, _surrogate)
    app.add_exception_handler(OSError, _unwritten)
    app.add_exception_handler(sqlite3.OperationalError, _locked)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, service.settings, service.metrics)


NO_OBJECT = ("dataclass_type", "model_type", "model_attributes_type", "dict_type")
"""Types of errors of a body that is a list, a number or a text."""


def _answer(refusal: Refusal) -> JSONResponse:
    return JSONResponse(body(refusal), refusal.status, headers=refusal.headers)


async def _refused(request: Request, error: Any) -> JSONResponse:
    return _answer(error)


async def _failed(request: Request, error: Any) -> JSONResponse:
    return _answer(of_error(error))


async def _invalid(request: Request, error: Any) -> JSONResponse:
    unknown = next((e for e in error.errors() if e["type"] in UNKNOWN_FIELD), None)
    # Where a field may have several types, pydantic lists what each of them lacks.
    first = unknown or next((e for e in error.errors() if e["type"] == NO_NUMBER), error.errors()[0])
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method != "GET" and not (kind == "application/json" or kind.endswith("+json")):
        sentence = f"The body's content type is {kind[:80]!r}" if kind else "The body has no content type"
        return _answer(Refusal(415, f"{sentence}: send the header 'Content-Type: application/json'.", "content_type"))
    if first["type"] == "missing" and first["loc"] == ("body",):
        taken = _fields(request, "").replace(", which takes", " with")
        return _answer(Refusal(400, f"The body is empty: send a JSON object{taken}, as /openapi.json says."))
    if first["type"] == "json_invalid":
        return _answer(Refusal(400, NO_JSON))
    place = ".".join(str(p) for p in first["loc"] if isinstance(p, int) or _is_field(p))
    if unknown is not None:
        message = (
            f"There is no field {place!r} in this request{_fields(request, place)}: /openapi.json says what is taken."
        )
        return _answer(Refusal(422, message, "unknown_field"))
    if not place and first["type"] in NO_OBJECT:
        return _answer(
            Refusal(400, f"The body is no JSON object{_fields(request, place)}: /openapi.json says what is taken.")
        )
    return _answer(Refusal(400, f"{place or 'The body'}: {first['msg']}. /openapi.json says what is taken."))


def _fields(request: Request, place: str) -> str:
    """Return the fields of a request's body in a clause; "" for a place within one of them."""
    given = [parameter.field_info.annotation for parameter in request.scope["route"].dependant.body_params]
    names = [name for body_type in given for name in getattr(body_type, "model_fields", ())]
    return f", which takes {', '.join(names)}" if names and "." not in place else ""


def _is_field(part: str) -> bool:
    """Return whether a part of a place is a field, and not the body or one of several types that a field may have."""
    return part.isidentifier() and not part[0].isupper() and part not in ("body", "str", "int", "float", "bool")


async def _surrogate(request: Request, error: Any) -> JSONResponse:
    return _answer(Refusal(400, "A text holds half a surrogate pair, which is no character: send whole Unicode."))


async def _http(request: Request, error: Any) -> JSONResponse:
    message, path, headers = str(error.detail), request.url.path[:80], error.headers
    if error.status_code == 400 and "parsing the body" in message:
        message = NO_JSON
    if error.status_code == 404 and message == "Not Found":
        message = f"There is nothing at {path}: /openapi.json lists what is there."
    if error.status_code == 405:
        allowed = _allowed(request)
        headers = {**(error.headers or {}), "Allow": allowed}
        message = f"{path} takes {allowed}, not {request.method}: /openapi.json says how it is asked."
    return _answer(Refusal(error.status_code, message, headers=headers))


def _allowed(request: Request) -> str:
    """Return the methods that a path takes: Starlette names those of the first of its routes alone."""

    def taken(method: str) -> bool:
        scope = {**request.scope, "method": method, "path_params": {}}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return ", ".join(filter(taken, ("DELETE", "GET", "PATCH", "POST", "PUT")))


async def _unwritten(request: Request, error: Any) -> JSONResponse:
    """Say that a file cannot be read or written: a full disk, an index that is read-only, a picture that is gone."""
    LOG.error("%s", error)
    status = 507 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 500
    reason = error.strerror or type(error).__name__
    return _answer(Refusal(status, f"A file of the server cannot be used ({reason}): look at its disk.", "file"))


async def _locked(request: Request, error: Any) -> JSONResponse:
    """Say that the rows of an index cannot be read or written: a full disk, or a file that is damaged."""
    LOG.error("%s", error)
    full = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return _answer(
        Refusal(507 if full else 500, f"An index of the server cannot be used ({error}): look at its disk.", "file")
    )


async def _broken(request: Request, error: Any) -> JSONResponse:
    LOG.error("%s: %s", type(error).__name__, error)
    return _answer(Refusal(500, f"This should not happen, please report it: {type(error).__name__}.", "internal"))
