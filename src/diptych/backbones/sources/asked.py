"""What may stand after a backbone's name:
``local:WEIGHTS.safetensors?architecture=ViT-B-32&activation=gelu&pixels=RECIPE.json``.

So every verb, every recorded command and every line of Python says it in one place, and no verb needs flags of its own
for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from diptych.backbones.spec import NOTHING_STATED, Stated, read_json, recipe_from
from diptych.core.errors import UsageError

Weights = Literal["required", "random"]
_KNOWN = (
    "architecture, activation, pixels, weights and seed take a value; override, truncate and allow-pickle take none"
)


@dataclass(frozen=True)
class Asked:
    """How a backbone is loaded, beside its name.

    Args:
        stated: facts that the source does not state, or states wrongly.
        truncate: cut texts that are longer than the tower reads, instead of raising.
        allow_pickle: run pickles and TorchScript archives.
        weights: "required", or "random" weights drawn from ``seed``.
        seed: of random weights.
    """

    stated: Stated = NOTHING_STATED
    truncate: bool = False
    allow_pickle: bool = False
    weights: Weights = "required"
    seed: int = 0


def split_name(text: str, asked: Asked = Asked()) -> tuple[str, Asked]:
    """Split "NAME?KEY=VALUE&KEY" into the name and what is asked for.

    Args:
        text: a backbone's name. A path that exists as it stands is a name, question mark included.
        asked: what holds where the text says nothing.

    Raises:
        UsageError: a key is unknown, a value is missing, superfluous or of the wrong kind.
        DataError: the file of a pixel recipe is none.

    Example:
        >>> split_name("openclip:RN50?weights=random&seed=1")[1].seed
        1
    """
    name, _, query = text.partition("?")
    if not query or Path(text.partition(":")[2] or text).exists():
        return text, asked
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if bool(equals and value) != (key in ("architecture", "activation", "pixels", "weights", "seed")):
            raise UsageError(f"{part!r} cannot stand after the backbone {name}: {_KNOWN}.")
        if key == "architecture":
            asked = replace(asked, stated=replace(asked.stated, architecture=value))
        elif key == "activation" and value in ("gelu", "quick_gelu"):
            asked = replace(asked, stated=replace(asked.stated, activation=value))
        elif key == "pixels":
            asked = replace(
                asked, stated=replace(asked.stated, pixels=recipe_from(read_json(Path(value).expanduser())))
            )
        elif key == "override":
            asked = replace(asked, stated=replace(asked.stated, override=True))
        elif key == "truncate":
            asked = replace(asked, truncate=True)
        elif key == "allow-pickle":
            asked = replace(asked, allow_pickle=True)
        elif key == "weights" and value in ("required", "random"):
            asked = replace(asked, weights=cast(Weights, value))
        elif key == "seed" and value.isdecimal():
            asked = replace(asked, seed=int(value))
        else:
            raise UsageError(f"{part!r} cannot stand after the backbone {name}: {_KNOWN}.")
    return name, asked
