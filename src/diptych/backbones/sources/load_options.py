"""Options after a backbone's name, such as ``local:WEIGHTS.safetensors?architecture=ViT-B-32&activation=gelu``.

They are a part of the name in every verb, recorded command and call, so that no verb needs flags for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from diptych.backbones.spec import NOTHING_STATED, Stated, recipe_from
from diptych.core import UsageError
from diptych.data.files import read_json

Weights = Literal["required", "random"]
_KNOWN = (
    "released, architecture, activation, pixels, weights and seed take a value; override, truncate and allow-pickle "
    "take none"
)


@dataclass(frozen=True)
class LoadOptions:
    """How a backbone is loaded, beside its name.

    Args:
        stated: facts that the source does not state, or states wrongly.
        truncate: cut texts that are longer than the tower reads, instead of raising.
        allow_pickle: run pickles and TorchScript archives.
        weights: "required", or "random" weights drawn from ``seed``.
    """

    stated: Stated = NOTHING_STATED
    truncate: bool = False
    allow_pickle: bool = False
    weights: Weights = "required"
    seed: int = 0


def split_name(text: str, options: LoadOptions = LoadOptions()) -> tuple[str, LoadOptions]:
    """Split "NAME?KEY=VALUE&KEY" into the name and the options.

    Args:
        text: a backbone's name. A path that exists is a name, with its question mark.
        options: defaults of the options.

    Raises:
        UsageError: a key is unknown, a value is missing, superfluous or of the wrong kind.
        DataError: the file of a pixel recipe is not valid.

    Example:
        >>> split_name("openclip:RN50?weights=random&seed=1")[1].seed
        1
    """
    name, _, query = text.partition("?")
    if not query or Path(text.partition(":")[2] or text).exists():
        return text, options
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if bool(equals and value) != (key in ("released", "architecture", "activation", "pixels", "weights", "seed")):
            raise UsageError(f"{part!r} cannot stand after the backbone {name}: {_KNOWN}.")
        if key == "released":
            options = replace(options, stated=replace(options.stated, released=value))
        elif key == "architecture":
            options = replace(options, stated=replace(options.stated, architecture=value))
        elif key == "activation" and value in ("gelu", "quick_gelu"):
            options = replace(options, stated=replace(options.stated, activation=value))
        elif key == "pixels":
            options = replace(
                options, stated=replace(options.stated, pixels=recipe_from(read_json(Path(value).expanduser())))
            )
        elif key == "override":
            options = replace(options, stated=replace(options.stated, override=True))
        elif key == "truncate":
            options = replace(options, truncate=True)
        elif key == "allow-pickle":
            options = replace(options, allow_pickle=True)
        elif key == "weights" and value in ("required", "random"):
            options = replace(options, weights=cast(Weights, value))
        elif key == "seed" and value.isdecimal():
            options = replace(options, seed=int(value))
        else:
            raise UsageError(f"{part!r} cannot stand after the backbone {name}: {_KNOWN}.")
    return name, options


def truncating(text: str) -> str:
    """Return the name of a backbone that cuts texts which are longer than its tower reads.

    Example:
        >>> truncating("tiny"), truncating("tiny?weights=random"), truncating("tiny?truncate")
        ('tiny?truncate', 'tiny?weights=random&truncate', 'tiny?truncate')
    """
    name, options = split_name(text)
    if options.truncate or (name == text and "?" in text):  # a path with a question mark takes no options
        return text
    return f"{text}{'&' if '?' in text else '?'}truncate"
