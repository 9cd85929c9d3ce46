"""Why a request gets no answer: a status, and one sentence with the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict

from diptych.core import (
    DataError,
    DiptychError,
    MissingEvidence,
    MissingExtra,
    MissingHook,
    MissingPart,
    NotAvailable,
    UnreadableItem,
    UsageError,
)

STATUS: tuple[tuple[type[DiptychError], int], ...] = (
    (UnreadableItem, 422),
    (UsageError, 400),
    (MissingEvidence, 400),
    (DataError, 422),
    (NotAvailable, 404),
    (MissingExtra, 501),
    (MissingHook, 501),
    (MissingPart, 501),
)
"""Error of the library -> status; the first that fits counts, and 500 where none does."""


class Refusal(Exception):
    """A request that gets no answer.

    Args:
        status: of HTTP.
        message: one sentence with the remedy.
        code: a short name for programs.
        headers: further headers.
    """

    def __init__(
        self, status: int, message: str, code: str = "invalid_request", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, dict(headers or {})


class Strict:
    """Base of the bodies of our own routes, where an unknown field is refused: it may be a misspelt one.

    Bodies in the forms of others take them, since their clients send fields that mean nothing here.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


UNKNOWN_FIELD = frozenset(("extra_forbidden", "unexpected_keyword_argument"))
"""What pydantic calls an unknown field of a body, by the kind of the class."""


class BusyError(Refusal):
    """The queue is full; ``seconds`` says when to come again."""

    def __init__(self, waiting: int, seconds: int) -> None:
        super().__init__(
            429,
            f"{waiting} inputs are waiting and no more are taken: ask again in {seconds} s.",
            "busy",
            {"Retry-After": str(seconds)},
        )


class TimedOutError(Refusal):
    """The request waited too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(504, f"No answer within {seconds:g} s: send fewer inputs, or raise --timeout.", "timeout")


class ClosingError(Refusal):
    """The server is stopping."""

    def __init__(self) -> None:
        super().__init__(503, "The server is stopping: ask another one.", "stopping", {"Retry-After": "5"})


class GoneError(Refusal):
    """The client has hung up; nobody reads this."""

    def __init__(self) -> None:
        super().__init__(499, "The client closed the connection.", "gone")


@dataclass(frozen=True)
class ErrorFacts:
    """What OpenAI's clients read of an error.

    Args:
        message: one sentence with the remedy.
        type: "invalid_request_error" or "server_error".
        param: always null.
        code: a short name for programs.
    """

    message: str
    type: str
    param: None
    code: str


@dataclass(frozen=True)
class RefusalBody:
    """The body of every answer with a status of 400 or above, for the description of the interface.

    Args:
        error: as OpenAI's clients read it.
        message: as Cohere's read it.
        detail: as FastAPI's read it.
    """

    error: ErrorFacts
    message: str
    detail: str


REFUSED: Mapping[int | str, dict[str, Any]] = {
    "4XX": {"model": RefusalBody, "description": "Refused: the message says why, and what to do."},
    "5XX": {"model": RefusalBody, "description": "Not done: the message says why, and what to do."},
}
"""Answers that every route may give."""


def of_error(error: DiptychError) -> Refusal:
    """Return the refusal of an error of the library."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    return Refusal(status, str(error), type(error).__name__)


def body(refusal: Refusal) -> dict[str, Any]:
    """Return what is sent: ``error`` as OpenAI's clients read it, ``message`` as Cohere's, ``detail`` as FastAPI's."""
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {
        "error": {"message": refusal.message, "type": kind, "param": None, "code": refusal.code},
        "message": refusal.message,
        "detail": refusal.message,
    }
