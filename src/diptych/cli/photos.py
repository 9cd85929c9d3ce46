"""Photos and clips as several verbs take them, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diptych.cli.console import one_line, short_names, show, show_table
from diptych.verbs.answer import counted as counted
from diptych.verbs.answer import speed as speed
from diptych.verbs.photos import clip_frames as clip_frames
from diptych.verbs.photos import open_photos as open_photos

if TYPE_CHECKING:
    from diptych.tasks.classified import Classified, Prediction


def demo_names() -> str:
    """Return the file with the class names of the photos that ship."""
    from diptych.data.named_sets import demo_folder

    return str(demo_folder("photos") / "names.txt")


def show_predictions(result: Classified) -> None:
    """Print one line per photo."""
    names = short_names([p.name for p in result.predictions])
    width = max(map(len, names))
    if width > 60 or not result.predictions:
        show_table(["photo", "classes"], [(n, _line(p)) for n, p in zip(names, result.predictions, strict=True)])
        return
    for name, p in zip(names, result.predictions, strict=True):
        show(f"{name:<{width}}  {_line(p)}")
        for text, weight in p.reasons or ():
            show(f"{'':<{width}}    {weight:+.3g}  {text}")


def _line(p: Prediction) -> str:
    text = "  ".join(f"{one_line(label)} {100 * value:.0f}%" for label, value in p.top) or "(none above the threshold)"
    if p.unknown:
        text = f"unknown ({text})"
    return text if p.inside is None else f"{text}  | one of: {', '.join(p.inside)}"
