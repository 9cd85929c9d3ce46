"""Photos with what was said about them, and why, as cards of HTML; alone, one page without script."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from diptych.core import Samples, UnreadableItem
from diptych.core.wording import number_of, short_names
from diptych.tasks.classified import Classified, Prediction
from diptych.tasks.pages.page import CLOSING, opening

if TYPE_CHECKING:
    from PIL import Image

SHOWN = 300
"""Photos on a page, at most: each is a picture inside the file."""


def html(classified: Classified, photos: Samples[Any]) -> str:
    """Return the page.

    Args:
        classified: predictions, with reasons where these were asked for.
        photos: what was classified; the pictures are found by name.
    """
    title = f"{number_of(len(classified.predictions), 'photo')}: {classified.method} with {classified.backbone}"
    more = f" The first {SHOWN} are shown; a .json file holds all." if len(classified.predictions) > SHOWN else ""
    skipped = "".join(f"<li>{escape(str(e))}</li>" for e in classified.failed)
    parts = [
        opening(title),
        "<section>",
        f'<p class="note">{meaning(classified)}{more}</p>',
        *cards(classified, photos),
        "</section>",
        *([f"<section><h2>Not readable</h2><ul>{skipped}</ul></section>"] if skipped else ()),
        CLOSING,
    ]
    return "\n".join(parts)


def meaning(classified: Classified) -> str:
    """Return what the bars and the reasons stand for."""
    text = "Bars are probabilities, " + (
        "a softmax over all names." if classified.score == "softmax" else "each name for itself."
    )
    if any(p.reasons is not None for p in classified.predictions):
        text += " Below a photo stands what decided for its first class, each reason with its share in that score."
    return text


def cards(classified: Classified, photos: Samples[Any] | None) -> Iterator[str]:
    """Yield a card for each photo: the picture, bars, and reasons."""
    places = {photos.name(i): i for i in range(len(photos))} if photos is not None else {}
    yield '<div class="photos">'
    names = short_names([p.name for p in classified.predictions])
    for name, p in zip(names[:SHOWN], classified.predictions, strict=False):
        source = thumbnail(photos, places[p.name], 420) if photos is not None and p.name in places else ""
        first = p.top[0][0] if p.top else "none"
        yield '<figure class="card">'
        if source:
            yield f'<img src="{source}" alt="{escape(name)}, classified as {escape(first)}">'
        yield f'<figcaption class="in"><span class="small">{escape(name)}{" (unknown)" if p.unknown else ""}</span>'
        for rank, (label, value) in enumerate(p.top):
            yield (
                f'<div class="bar{"" if rank else " first"}"><span>{escape(label)}</span><span>{100 * value:.0f} '
                "%</span>"
            )
            yield f'<i><b style="width:{100 * value:.1f}%"></b></i></div>'
        if p.inside is not None:
            yield f'<div class="small">one of: {escape(", ".join(p.inside))}</div>'
        yield from _reasons(p)
        yield "</figcaption></figure>"
    yield "</div>"


def _reasons(p: Prediction) -> Iterator[str]:
    if not p.reasons:
        return
    yield '<table class="small"><tbody>'
    for text, weight in p.reasons:
        yield f'<tr><td class="left wrap">{escape(text)}</td><td>{weight:+.3g}</td></tr>'
    yield "</tbody></table>"


def thumbnail(samples: Samples[Any], index: int, side: int) -> str:
    """Return a photo as a JPEG data address of at most ``side`` pixels per side; "" where it cannot be read."""
    try:
        return address(samples[index], side)
    except UnreadableItem:
        return ""


def address(image: Image.Image, side: int) -> str:
    """Return a picture as a JPEG data address of at most ``side`` pixels per side, without EXIF or profiles."""
    from PIL.Image import Resampling

    small = image.convert("RGB")
    small.info = {}
    small.thumbnail((side, side), Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
