"""Pictures of requests: bounded in bytes and pixels before they are decoded."""

from __future__ import annotations

import base64
import binascii
import re

from PIL import Image

from diptych.core import UnreadableItem
from diptych.data.images import decode_image
from diptych.serve.refusals import Refusal

_DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(?P<base64>;base64)?,")


def is_picture(text: str) -> bool:
    """Return whether a string is a data URI of a picture."""
    return text.startswith("data:image/") and _DATA.match(text[:200]) is not None


def picture_bytes(text: str, name: str) -> bytes:
    """Return the bytes of a data URI or of plain base64.

    Raises:
        Refusal: it is a URL, or no base64.
    """
    if text[:8].lower().startswith(("http://", "https://", "file:")):
        raise Refusal(400, f"{name} is a URL, which is not fetched: send the picture itself, as data:image/...;base64.")
    if text.startswith("data:"):
        match = _DATA.match(text[:200])
        if match is None or match["base64"] is None:
            raise Refusal(400, f"{name} is a data URI without base64: send data:image/jpeg;base64,...")
        text = text[match.end() :]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, f"{name} is no base64: send data:image/jpeg;base64,... or plain base64.") from None


def decoded(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Return a picture, upright and RGB; above ``max_pixels``, width times height, it is refused from its header.

    Raises:
        Refusal: it is no picture, damaged, or too large.
    """
    try:
        return decode_image(data, name, max_pixels=max_pixels)
    except UnreadableItem as error:
        status = 413 if "more than the limit" in error.reason or "more pixels" in error.reason else 422
        raise Refusal(status, f"{name} cannot be read: {error.reason}.", "unreadable_picture") from None
    except MemoryError:
        raise Refusal(413, f"{name} is too large for the memory here: send a smaller one.") from None
