"""Pictures of requests: bounded in bytes and pixels before they are decoded."""

from __future__ import annotations

import base64
import binascii
import re

from PIL import Image

from diptych.core import UnreadableItem
from diptych.data.images import SUFFIXES, decode_image
from diptych.serve.refusals import Refusal

_DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(?P<base64>;base64)?,", re.IGNORECASE)
_ADDRESS = re.compile(rf"(?:https?|file):\S+?(?:{'|'.join(map(re.escape, SUFFIXES))})(?:[?#]\S*)?", re.IGNORECASE)
_FIRST = re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR)[\w+/=\s]{60}")
"""How plain base64 of a JPEG, PNG, GIF or WebP file begins."""


def is_picture(text: str) -> bool:
    """Return whether a string is meant as a picture: a data URI of one or of any base64, the plain base64 of one, or
    the address of one, which is then refused.
    """
    text = text.strip()
    if (match := _DATA.match(text[:200])) is not None:
        return match["base64"] is not None or (match["type"] or "").lower().startswith("image/")
    return _FIRST.match(text[:100]) is not None or _ADDRESS.fullmatch(text[:4096]) is not None


def picture_bytes(text: str, name: str) -> bytes:
    """Return the bytes of a data URI or of plain base64.

    Raises:
        Refusal: it is a URL, or no base64.
    """
    text = text.strip()
    if text[:8].lower().startswith(("http://", "https://", "file:")):
        raise Refusal(400, f"{name} is a URL, which is not fetched: send the picture itself, as data:image/...;base64.")
    if text[:5].lower() == "data:":
        match = _DATA.match(text[:200])
        if match is None or match["base64"] is None:
            raise Refusal(400, f"{name} is a data URI without base64: send data:image/jpeg;base64,...")
        text = text[match.end() :]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, f"{name} is not base64: send data:image/jpeg;base64,... or plain base64.") from None


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
