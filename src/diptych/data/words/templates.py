"""Prompt templates: sentences with a slot for the class name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from diptych.core import DataError, UsageError
from diptych.data.words.textfiles import read_json, read_text

SINGLE = ("a photo of a {}.",)
"""The template of CoOp and later papers for photos of objects."""

ENSEMBLE = (
    "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.", "a {} in a video game.",
    "art of the {}.", "a photo of the small {}.",
)  # fmt: skip
"""The seven templates of Tip-Adapter and GDA on ImageNet, selected by OpenAI."""

VILD = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    *(f"a photo of a {size} {{}}." for size in ("small", "medium", "large")),
    *(f"This is a photo of a {size} {{}}." for size in ("small", "medium", "large")),
    *(f"There is a {size} {{}} in the scene." for size in ("small", "medium", "large")),
)
"""The 14 templates of ViLD, as segmenters take them (``fcclip.py`` of FC-CLIP, 2b0bbe2); four have no full stop."""

_SEEN = ("bad", "low resolution", "cropped", "bright", "dark", "close-up", "black and white", "pixelated",
         "jpeg corrupted", "blurry", "good")  # fmt: skip
_LOOKS = ("hard to see ", "clean ", "dirty ", "cool ", "large ", "nice ", "weird ", "small ", "")
_MADE = ("a sculpture", "a rendering", "graffiti", "a tattoo", "a drawing", "a painting", "a doodle", "a sketch",
         "a rendition", "art", "itap")  # fmt: skip
_OF = ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")

IMAGENET = (
    *(f"a {seen} photo of {article} {{}}." for seen in _SEEN for article in ("a", "the")),
    *(f"a photo of {article} {look}{{}}." for look in _LOOKS for article in ("a", "the")),
    *(f"{made} of {article} {{}}." for made in _MADE for article in ("a", "the")),
    *(f"{article} {of} {{}}." for of in _OF for article in ("a", "the")),
    *(f"{article} {{}} in a video game." for article in ("a", "the")),
    *(f"a photo of {count} {{}}." for count in ("many", "one", "my")),
    "itap of my {}.",
)
"""The 80 templates of CLIP on ImageNet, in another order, which CLIP-DINOiser takes (a954aae)."""

SETS = {"vild": VILD, "imagenet": IMAGENET}
"""Name of a set -> its templates."""


def read_templates(source: str | os.PathLike[str] | Sequence[str], dataset: str | None = None) -> tuple[str, ...]:
    """Read templates, in which "{c}" and "{class}" are the same as "{}".

    Args:
        source: the templates themselves, the name of one of ``SETS``, or a UTF-8 file: .json with a list, or with
            CLIP_benchmark's {data set: list}; any other file with one template per line (empty lines are skipped).
        dataset: the entry of {data set: list} to read; needed where there are several.

    Returns:
        M templates with one "{}" each, in order.

    Raises:
        UsageError: no such file, no such data set, or a template without exactly one place for the name.
        DataError: the content does not fit the file ending, or has no template.
    """
    if not isinstance(source, (str, os.PathLike)):
        lines: list[str] = list(source)
    elif str(source) in SETS and not Path(source).exists():
        return SETS[str(source)]
    elif Path(source).suffix.lower() == ".json":
        lines = _from_json(read_json(source, "templates"), source, dataset)
    else:
        lines = [line.strip() for line in read_text(source, "templates").splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{source} holds no template: give at least one, such as {SINGLE[0]!r}.")
    return tuple(_normalised(line) for line in lines)


def _from_json(value: object, source: str | os.PathLike[str], dataset: str | None) -> list[str]:
    if isinstance(value, dict):
        if dataset is None and len(value) != 1:
            raise UsageError(
                f"{source} holds templates of several data sets: choose one of {', '.join(list(value)[:5])}."
            )
        if dataset is not None and dataset not in value:
            raise UsageError(f"{source} has no templates for {dataset!r}: choose one of {', '.join(list(value)[:5])}.")
        value = value[dataset] if dataset is not None else next(iter(value.values()))
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise DataError(f"{source} must hold a JSON list of templates, or an object from data set to such a list.")
    return value


def _normalised(line: str) -> str:
    template = line.replace("{class}", "{}").replace("{c}", "{}")
    if template.count("{}") != 1:
        raise UsageError(
            f"Template {line!r} must hold exactly one '{{}}', '{{c}}' or '{{class}}' where the class name goes."
        )
    return template
