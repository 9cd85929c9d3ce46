"""Pictures by their address, from origins that the operator named, and from no others."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import urlsplit

from diptych.backbones.writers.openai_compatible import NoRedirect
from diptych.serve.refusals import Refusal
from diptych.serve.settings import Settings

TOKEN = "DIPTYCH_FETCH_TOKEN"
"""Environment variable with the value of the header Authorization, such as "Token 0123..." of Label Studio."""


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def fetched(address: str, name: str, settings: Settings, environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the bytes at an address.

    Args:
        address: a URL, or a path such as "/data/upload/1.jpg", which is one of the first origin.
        name: of the picture, for errors.
        settings: origins and bounds.
        environment: holds the token, see ``TOKEN``; it is sent to these origins alone.

    Raises:
        Refusal: the origin is not named, answers with an error or a redirect, too slowly, or with too much.
    """
    origins = tuple(origin.rstrip("/") for origin in settings.fetch_from)
    if address.startswith("/") and not address.startswith("//") and origins:
        address = origins[0] + address
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" not in origins:
        raise Refusal(
            400,
            f"{name} is at {address[:80]!r}, which is not fetched: name its origin with --fetch-from.",
            "not_fetched",
        )
    token = environment.get(TOKEN, "")
    request = urllib.request.Request(address, headers={"Authorization": token} if token else {})
    try:
        with _OPENER.open(request, timeout=settings.timeout) as answer:
            data: bytes = answer.read(settings.max_bytes + 1)
    except urllib.error.HTTPError as error:
        raise Refusal(422, f"{name}: {parts.netloc} answered {error.code}, and no picture.", "not_fetched") from None
    except (OSError, HTTPException, ValueError) as error:
        raise Refusal(422, f"{name} cannot be fetched from {parts.netloc}: {error}.", "not_fetched") from None
    if len(data) > settings.max_bytes:
        raise Refusal(413, f"{name} has more than {settings.max_bytes:,} bytes.", "not_fetched")
    return data
