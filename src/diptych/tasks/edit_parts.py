"""Loads what an editor's card asks for, and no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from diptych import catalog
from diptych.backbones.generators.load import load_generator, load_inverter, load_maps
from diptych.core import Backbone, Card, Editor, Kit, MapInverter, MissingPart, Segmenter, Start, UsageError
from diptych.data.scenes.sprites import COLOURS, SHAPES
from diptych.nn.dense.label_maps import Windows
from diptych.tasks.defaults import DEFAULTS, slug_and_row
from diptych.tasks.generate import unlearnt

GENERATOR, PHOTO_GENERATOR = "factors", "small"
"""What draws the pictures that are edited, and what photos are found again in."""


def chosen_editor(slug: str | None, start: Start) -> type[Editor]:
    """Return an editor that begins with what there is.

    Args:
        slug: what the user names; None: the usual one, or the first of the catalog that begins so.
        start: what there is to begin with.

    Raises:
        UsageError: the editor named does not begin so, or no editor does.
    """
    if slug is not None:
        return catalog.find(slug, Editor)
    slugs = [slug_and_row("edit")[0], *(card["slug"] for card in catalog.cards() if card["verb"] == "edit")]
    for kind in (catalog.find(s) for s in slugs):
        if issubclass(kind, Editor) and start in kind.takes.start:
            return kind
    raise UsageError(f"No editor here starts from {start}: 'diptych systems' lists them.")


def unlearnt_remark(generator: str | None, denoiser: str | None, source: str, targets: Sequence[str]) -> str:
    """Return that what draws ships with diptych and never learnt a word of an edit, and what to give; "" else.

    Args:
        generator: its name; None: none takes part.
        denoiser: its name; None: none takes part. It draws by the source alone.
        source: what the pictures show.
        targets: what they should show.

    Example:
        >>> print(unlearnt_remark("factors", None, "a red circle", ("a dog",)))
        The generator factors draws coloured shapes alone, and nothing says what it makes of dog: give a generator of
        such pictures as {generator}.
        >>> unlearnt_remark("small", None, "a red circle", ("a blue circle",))
        ''
    """
    if denoiser == "small" and (words := unlearnt([source])):
        named = ", ".join(words)
        return f"The small denoiser never learnt {named}, and no photographs: give a pipeline as {{denoiser}}."
    words = unlearnt([source, *targets])
    if generator == "factors" and (strange := [w for w in words if w not in (*COLOURS, *SHAPES)]):
        return (
            f"The generator factors draws coloured shapes alone, and nothing says what it makes of "
            f"{', '.join(strange)}: give a generator of such pictures as {{generator}}."
        )
    if generator == "small" and words:
        return (
            f"The small generator never learnt {', '.join(words)}, and no photographs: pictures are the nearest that "
            f"it draws. Give a generator of such pictures as {{generator}}."
        )
    return ""


def drawn_by(generator: str | None, inverter: str | None, *, photos: bool) -> str:
    """Return what draws: the generator that is named, the one in the inverter's file, or the usual one."""
    return generator or inverter or (PHOTO_GENERATOR if photos else GENERATOR)


def kit_for(
    card: Card,
    backbone: Backbone,
    *,
    generator: str | None = None,
    inverter: str | None = None,
    denoiser: str | None = None,
    segmenter: str | None = None,
    photos: bool = False,
) -> Kit:
    """Return the backbone with the parts that a card names.

    Args:
        card: of the editor.
        backbone: the main part.
        generator: name of a StyleGenerator; None: that in the inverter's file; without one ``small`` for photos, else
            ``factors``.
        inverter: file of an inverter for the generator; None: that of the generator, where it has one.
        denoiser: name of a TextDiffusion; None: ``small``.
        segmenter: slug of a Segmenter; None: the usual one.
        photos: whether photos are edited.

    Raises:
        UsageError: a name is none.
        NotAvailable, DataError: a part is not on this machine, or damaged.
        MissingPart: the generator has no encoder of the kind that the editor uses.
        MissingHook: the denoiser is of flow matching.
    """
    parts: dict[str, Any] = {"main": backbone}
    draws = drawn_by(generator, inverter, photos=photos)
    openers: dict[str, Callable[[], dict[str, Any]]] = {
        "StyleGenerator": lambda: generator_parts(draws, inverter),
        "MapInverter": lambda: map_parts(draws, parts.get("inverter")),
        "TextDiffusion": lambda: _diffusion(denoiser or "small", backbone, card.name),
        "Segmenter": lambda: _segmenter(segmenter, backbone),
    }
    for kind in card.needs.parts:
        if kind in openers:
            parts |= openers[kind]()
    return Kit(parts)


def generator_parts(name: str, inverter: str | None) -> dict[str, Any]:
    """Return "generator", and "inverter" where there is one.

    Raises:
        UsageError, NotAvailable, DataError: a name is none, or a file cannot be read.
    """
    draws, its = load_generator(name)
    if inverter is not None:
        its = load_inverter(inverter, draws)
    return {"generator": draws} if its is None else {"generator": draws, "inverter": its}


def map_parts(name: str, inverter: object) -> dict[str, Any]:
    """Return "maps", the inverter where it has feature maps, or the generator's encoder through such.

    Raises:
        MissingPart: there is none.
    """
    maps = inverter if isinstance(inverter, MapInverter) else load_maps(name)
    if maps is None:
        raise MissingPart(
            f"The generator {name} has no encoder through feature maps: give a file of e4e for it, such as "
            f"e4e_ffhq_encode.pt, as {{inverter}}, or use small."
        )
    return {"maps": maps}


def _diffusion(name: str, backbone: Backbone, system: str) -> dict[str, Any]:
    from diptych.backbones.diffusion.load import check_attention, load_diffusion

    check_attention(name, system)
    return {"diffusion": load_diffusion(name, backbone)}


def _segmenter(slug: str | None, backbone: Backbone) -> dict[str, Any]:
    """Return a segmenter, with windows at most twice as large as what the image encoder was trained on."""
    segmenter = catalog.find(slug or DEFAULTS["segment"], Segmenter)()
    windows, size = getattr(segmenter, "windows", None), backbone.image.size
    if isinstance(windows, Windows) and size is not None and windows.window > 2 * size:
        segmenter = replace(segmenter, windows=Windows(2 * size, 2 * size, size))  # type: ignore[type-var]
    return {"segmenter": segmenter}
