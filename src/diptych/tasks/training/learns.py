"""Which parameters a training may change, and whether a system can be trained so."""

from __future__ import annotations

from diptych.core import Backbone, Learns, MissingHook, Objective, Recipe, UsageError
from diptych.core.train import everything
from diptych.features.frozen import head_names
from diptych.train.captioning import has_decoder
from diptych.train.layers import last_layers, tower_of


def learns(backbone: Backbone, parts: str, unlock: int = 0) -> Learns:
    """Return which parameters of a backbone's module may be trained.

    Args:
        backbone: any.
        parts: "all", "heads", "image" or "text".
        unlock: where it is one tower, the number of last layers of the other that learn too: 1 is what follows its
            blocks, 2 adds the last block, and so on.

    Raises:
        UsageError: an unknown part, or layers of another tower where there is no other.
    """
    if parts not in ("all", "heads", "image", "text"):
        raise UsageError(f"There is no part {parts!r}: choose all, heads, image or text.")
    if unlock and parts not in ("image", "text"):
        raise UsageError(
            f"{{unlock}} {unlock} opens layers of the tower that {{parts}} image or text locks, not {parts}."
        )
    if parts == "all":
        return everything
    if parts == "heads":
        return head_names(backbone).__contains__
    names = [n for n, _ in backbone.module().named_parameters()]
    other = last_layers(names, "text" if parts == "image" else "image", unlock)
    return frozenset(n for n in names if n in other or (tower_of(n) == "image") == (parts == "image")).__contains__


def check_stream(method: Objective | Recipe, backbone: Backbone) -> None:
    """Check that a system can be trained on pairs that pass by once.

    Raises:
        UsageError: it cannot.
    """
    if isinstance(method, Recipe) and not method.passes_once and type(method).of_stream is Recipe.of_stream:
        raise UsageError(f"{method.card.slug} reads its rows more than once: give a table, not a stream.")
    if "LanguageModel" in method.card.needs.parts and not has_decoder(backbone):
        raise UsageError(
            f"{method.card.slug} needs the words of all captions for its small decoder: give a table, or a CoCa."
        )


def need_towers(method: Objective | Recipe, parts: str) -> None:
    """Check that a system which works inside a tower is not given heads alone, nor the one that it never reads.

    Raises:
        MissingHook: it is.
    """
    hooks = method.card.needs.hooks
    if parts == "text" and "tower:image" in hooks and "text" not in hooks:
        raise MissingHook(f"{method.card.slug} trains the image tower alone: give {{parts}} image, or all.")
    inside = [hook for hook in hooks if hook.startswith("tower:")]
    if parts == "heads" and inside:
        raise MissingHook(
            f"{method.card.slug} works inside {', '.join(inside)}, and heads have no tower: give {{parts}} all."
        )
